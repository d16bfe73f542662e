package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The hardening defaults hold for a container that was started with no option.
func TestSecurityDefaults(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "plain", busybox, "sleep", "1000").Must(t)
	in := func(script string) (string, int) {
		r := d.Sampan("exec", "plain", "sh", "-c", script)
		return strings.TrimSpace(r.Out), r.Code
	}
	for _, tc := range []struct{ what, script, want string }{
		{"Docker's 14 capabilities", "grep CapEff /proc/1/status", "CapEff:\t00000000a80425fb"},
		{"bounded", "grep CapBnd /proc/1/status", "CapBnd:\t00000000a80425fb"},
		{"none inheritable", "grep CapInh /proc/1/status", "CapInh:\t0000000000000000"},
		{"none ambient", "grep CapAmb /proc/1/status", "CapAmb:\t0000000000000000"},
		{"a filter of system calls", "grep ^Seccomp: /proc/1/status", "Seccomp:\t2"},
		{"new privileges as in Docker", "grep NoNewPrivs /proc/1/status", "NoNewPrivs:\t0"},
		{"ping without a capability", "cat /proc/sys/net/ipv4/ping_group_range", "0\t2147483647"},
		{"low ports without a capability", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
		{"descriptors of the first process", "ls /proc/1/fd | tr '\\n' ' '", "0 1 2"},
		{"64 MiB of shared memory", "grep ' /dev/shm ' /proc/mounts | tr ', ' '\\n\\n' | grep ^size", "size=65536k"},
		{"an exec has the same capabilities", "grep CapEff /proc/self/status", "CapEff:\t00000000a80425fb"},
		{"an exec has the filter", "grep ^Seccomp: /proc/self/status", "Seccomp:\t2"},
	} {
		if got, _ := in(tc.script); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.what, got, tc.want)
		}
	}
	for _, masked := range []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/fs/selinux"} {
		if got, _ := in("[ -d " + masked + " ] && ls -A " + masked + " || head -c 64 " + masked + " 2>/dev/null"); got != "" {
			t.Errorf("%s shows %q", masked, got)
		}
	}
	for _, refused := range []string{
		"echo 1 > /proc/sys/kernel/pid_max", "echo h > /proc/sysrq-trigger", "echo 1 > /proc/irq/default_smp_affinity",
		"echo x > /sys/kernel/profiling", "mkdir /sys/fs/cgroup/memory/x", "echo /x > /sys/fs/cgroup/memory/release_agent",
		"mount -t tmpfs none /tmp", "hostname other", "mknod /tmp/mem c 1 1 && cat /tmp/mem", "mknod /tmp/kmsg c 1 11 && head -c1 /tmp/kmsg",
	} {
		if out, code := in(refused); code == 0 {
			t.Errorf("%q succeeded: %s", refused, out)
		}
	}
	for _, works := range []string{"mknod /tmp/null c 1 3 && echo x > /tmp/null", "head -c1 /dev/zero", "echo x > /dev/null", "mknod /tmp/pipe p"} {
		if out, code := in(works); code != 0 {
			t.Errorf("%q failed: %s", works, out)
		}
	}
}

// Nothing below the data and run directories is readable by an ordinary user.
func TestOthersFindNothing(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", busybox, "sleep", "1000").Must(t)
	for _, root := range []string{"/var/lib/sampan", "/run/sampan"} {
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(root)
		if err != nil {
			t.Fatal(err)
		}
		// The lab's tmpfs is the data root itself; below it the daemon decides.
		if info.Mode().Perm()&0o007 == 0 {
			continue
		}
		for _, entry := range entries {
			info, err := os.Lstat(filepath.Join(root, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o007 != 0 {
				t.Errorf("%s is open to others: %v", filepath.Join(root, entry.Name()), info.Mode())
			}
		}
	}
}
