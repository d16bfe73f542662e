package runtime

import "testing"

func TestDefaultSpec(t *testing.T) {
	l := newLab(t)
	got := l.run(l.spec("echo pid $$; hostname; id -u; pwd; ls /proc/self/fd; mount; ls -l /dev; ip addr; cat /proc/self/status; cat /proc/self/cgroup; ls -l /sys/fs/cgroup"))
	t.Log(got)
}
