package scenario

import (
	"strings"
	"testing"
)

// Devices, their rules and ulimits of a running container are changed at once, and for
// its next starts; what cannot be done says so and changes nothing.
func TestUpdateDevicesAndUlimits(t *testing.T) {
	d := start(t)
	sh := func(name, script string) string { return d.Sampan("exec", name, "sh", "-c", script).Must(t) }
	d.Sampan("run", "-d", "--name", "one", "--ulimit", "nofile=300:400", busybox, "sleep", "1000").Must(t)
	d.Sampan("update", "--ulimit", "nofile=100:200", "--ulimit", "nproc=50", "--device", "/dev/full:/dev/fuller:rw", "--device-cgroup-rule", "c 1:11 r", "one").Must(t)
	for range 2 {
		if got := sh("one", "ulimit -n; ulimit -Hn"); got != "100\n200" {
			t.Errorf("nofile of a new process %q", got)
		}
		if got := d.Sampan("exec", "one", "sh", "-c", "grep 'open files' /proc/1/limits").Must(t); len(strings.Fields(got)) < 5 || strings.Fields(got)[3] != "100" {
			t.Errorf("of the first %q", got)
		}
		if r := d.Sampan("exec", "one", "sh", "-c", "echo x > /dev/fuller"); r.Code == 0 || !strings.Contains(r.Err+r.Out, "No space left") {
			t.Errorf("the device: %d %q %q", r.Code, r.Out, r.Err)
		}
		d.Sampan("restart", "-t", "0", "one").Must(t)
	}
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"CAP_SYS_RESOURCE", []string{"--ulimit", "nofile=100:100000000"}},
		{"/dev/absent", []string{"--device", "/dev/absent"}},
		{"invalid device cgroup", []string{"--device-cgroup-rule", "x"}},
		{"something else stands there", []string{"--device", "/dev/full:/dev/null2"}},
	} {
		if strings.Contains(tc.want, "stands") {
			sh("one", "touch /dev/null2")
		}
		if r := d.Sampan(append(append([]string{"update"}, tc.args...), "one")...); r.Code == 0 || !strings.Contains(strings.ToLower(r.Err), strings.ToLower(tc.want)) {
			if tc.want == "CAP_SYS_RESOURCE" && r.Code == 0 {
				t.Log("this daemon may raise hard limits")
				continue
			}
			t.Errorf("%q: exit %d, %q", tc.args, r.Code, r.Err)
		}
	}
	if got := d.Sampan("inspect", "-f", "{{len .HostConfig.Devices}} {{len .HostConfig.DeviceCgroupRules}} {{len .HostConfig.Ulimits}}", "one").Must(t); got != "1 1 2" {
		t.Errorf("after the refusals it has %s devices, rules and ulimits", got)
	}
	d.Sampan("run", "-d", "--name", "mapped", "--userns", "remap", busybox, "sleep", "1000").Must(t)
	d.Sampan("update", "--ulimit", "nofile=77:77", "mapped").Must(t)
	if got := sh("mapped", "ulimit -n"); got != "77" {
		t.Errorf("nofile of a remapped one %q", got)
	}
	if r := d.Sampan("update", "--device", "/dev/full", "mapped"); r.Code == 0 || !strings.Contains(r.Err, "user namespace") {
		t.Errorf("a device of a remapped one: %d %q", r.Code, r.Err)
	}
}
