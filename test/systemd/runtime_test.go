package systemd

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/systemd"
	"github.com/sampan-containers/sampan/test/lab"
)

// The properties in which we want to be as runc is. CPUWeight is not: shares become weights
// by another curve in runc 1.1.
var compared = []string{
	"Slice", "Delegate", "DefaultDependencies", "ActiveState", "SubState", "ControlGroup",
	"CPUAccounting", "MemoryAccounting", "TasksAccounting",
	"CPUShares", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "AllowedCPUs", "MemoryMax", "MemoryLimit", "MemoryLow", "MemorySwapMax", "TasksMax",
	"DevicePolicy", "TimeoutStopUSec",
}

// One bundle, started by runc and by us: what systemd says about the units, and what
// is in the groups' files.
func TestScopeAsRunc(t *testing.T) {
	needSystemd(t)
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Skip("no runc to compare with")
	}
	ours := lab.Bin(t, "sampan-runtime")
	spec := sleeper("sampantest-sub.slice:box:cmp", limits())
	spec.Annotations = map[string]string{"org.systemd.property.TimeoutStopUSec": "uint64 7000000"}
	b := newBundle(t, spec)
	const unit = "box-cmp.scope"
	see := func(program string) (props map[string]string, files string) {
		b.run(program, "cmp")
		defer gone(t, unit)
		defer b.call(program, "delete", "--force", "cmp")
		props = show(t, unit, compared...)
		group := groupOf(t, pidOf(t, b.call(program, "state", "cmp").Must(t)))
		files = group + "\n"
		for _, f := range [][2]string{
			{"memory.limit_in_bytes", "memory.max"}, {"pids.max", "pids.max"}, {"cpu.cfs_quota_us", "cpu.max"}, {"cpuset.cpus", "cpuset.cpus"},
		} {
			files += f[1] + " " + read(t, group, f[0], f[1]) + "\n"
		}
		return props, files
	}
	wantProps, wantFiles := see(runc)
	props, files := see(ours)
	for _, name := range compared {
		if props[name] != wantProps[name] {
			t.Errorf("%s=%s, with runc %s", name, props[name], wantProps[name])
		}
	}
	if files != wantFiles {
		t.Errorf("files:\n%swith runc:\n%s", files, wantFiles)
	}
	if props["Delegate"] != "yes" || props["ControlGroup"] != "/sampantest.slice/sampantest-sub.slice/"+unit {
		t.Errorf("%v", props)
	}
}

// A container's life in a scope, with what systemd does of its own in between.
func TestScopeLife(t *testing.T) {
	needSystemd(t)
	ours := lab.Bin(t, "sampan-runtime")
	b := newBundle(t, sleeper("sampantest.slice:box:life", limits()))
	must(t, unix.Mknod(b.dir+"/rootfs/tmp/tun", unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))))
	must(t, unix.Mknod(b.dir+"/rootfs/tmp/kmsg", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 11))))
	const unit = "box-life.scope"
	b.run(ours, "life")
	t.Cleanup(func() { b.call(ours, "delete", "--force", "life") })
	group := groupOf(t, pidOf(t, b.call(ours, "state", "life").Must(t)))
	if group != "/sampantest.slice/"+unit {
		t.Fatalf("it is in %s", group)
	}
	memory := func(want int) {
		t.Helper()
		if got := read(t, group, "memory.limit_in_bytes", "memory.max"); got != strconv.Itoa(want) {
			t.Errorf("memory limit %s, want %d", got, want)
		}
	}
	devices := func() {
		t.Helper()
		b.call(ours, "exec", "life", "/bin/dd", "if=/dev/zero", "of=/dev/null", "count=1").Must(t)
		if r := b.call(ours, "exec", "life", "/bin/head", "-c0", "/tmp/tun"); strings.Contains(r.Err, "not permitted") {
			t.Errorf("the allowed device: %s", r.Err)
		}
		if r := b.call(ours, "exec", "life", "/bin/head", "-c1", "/tmp/kmsg"); !strings.Contains(r.Err, "not permitted") {
			t.Errorf("a device that is not allowed was opened: %d %s", r.Code, r.Err)
		}
	}
	memory(64 << 20)
	devices()
	// systemd reads its units again and applies what it knows.
	lab.Run(t, nil, "systemctl", "daemon-reload").Must(t)
	memory(64 << 20)
	devices()

	b.call(ours, "update", "--memory", "100663296", "--pids-limit", "70", "--cpu-quota", "25000", "--cpu-period", "100000", "--cpu-share", "512", "life").Must(t)
	memory(96 << 20)
	name := "MemoryMax"
	if !isV2(t) {
		name = "MemoryLimit"
	}
	props := show(t, unit, name, "TasksMax", "CPUQuotaPerSecUSec")
	if props[name] != "100663296" || props["TasksMax"] != "70" || props["CPUQuotaPerSecUSec"] != "250ms" {
		t.Errorf("after the update: %v", props)
	}
	lab.Run(t, nil, "systemctl", "daemon-reload").Must(t)
	memory(96 << 20)
	if got := read(t, group, "pids.max", "pids.max"); got != "70" {
		t.Errorf("pids.max is %s", got)
	}
	devices()
	// What would be refused reaches neither side.
	if r := b.call(ours, "update", "--memory", "100", "life"); r.Code == 0 {
		t.Error("a memory limit of 100 bytes was taken")
	}
	memory(96 << 20)

	b.call(ours, "pause", "life").Must(t)
	if s := b.call(ours, "state", "life").Must(t); !strings.Contains(s, `"paused"`) {
		t.Errorf("state %s", s)
	}
	b.call(ours, "resume", "life").Must(t)
	b.call(ours, "events", "--stats", "life").Must(t)
	b.call(ours, "ps", "life").Must(t)
	b.call(ours, "kill", "life", "KILL").Must(t)
	lab.Eventually(t, 5*time.Second, "the end", func() bool { return strings.Contains(b.call(ours, "state", "life").Out, "stopped") })
	b.call(ours, "delete", "life").Must(t)
	gone(t, unit)
}

// The same name, again and again: systemd must have forgotten each before the next.
func TestScopeAgain(t *testing.T) {
	needSystemd(t)
	ours := lab.Bin(t, "sampan-runtime")
	spec := sleeper("", nil)
	spec.Process.Args = []string{"/bin/true"}
	b := newBundle(t, spec)
	for range 10 {
		b.call(ours, "run", "--bundle", b.dir, "again").Must(t)
	}
	gone(t, "sampan-again.scope")
}

// What does not come to be leaves no unit.
func TestScopeOfAFailure(t *testing.T) {
	needSystemd(t)
	ours := lab.Bin(t, "sampan-runtime")
	spec := sleeper("system.slice:box:fail", limits())
	spec.Process.Args = []string{"/bin/missing"}
	b := newBundle(t, spec)
	if r := b.call(ours, "run", "--bundle", b.dir, "fail"); r.Code == 0 || !strings.Contains(r.Err, "/bin/missing") {
		t.Errorf("%d %s", r.Code, r.Err)
	}
	gone(t, "box-fail.scope")

	for _, tt := range []struct{ path, want string }{
		{"/sampan/x", "slice:prefix:name"}, {"nothing:box:x", "not the name of a systemd slice"}, {"system.slice:box:a b", "name of a systemd unit"},
	} {
		b := newBundle(t, sleeper(tt.path, nil))
		if r := b.call(ours, "run", "--bundle", b.dir, "fail"); r.Code == 0 || !strings.Contains(r.Err, tt.want) {
			t.Errorf("%s: %d %s", tt.path, r.Code, r.Err)
		}
	}
	spec = sleeper("", nil)
	spec.Annotations = map[string]string{"org.systemd.property.Nonsense": "true"}
	b = newBundle(t, spec)
	if r := b.call(ours, "run", "--bundle", b.dir, "fail"); r.Code == 0 || !strings.Contains(r.Err, "Nonsense") {
		t.Errorf("unknown property: %d %s", r.Code, r.Err)
	}
	gone(t, "sampan-fail.scope")

	// A unit that is somebody else's.
	cmd := exec.Command("systemd-run", "--scope", "--unit", "sampan-taken.scope", "--quiet", "sleep", "1000")
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = systemd.Stop(context.Background(), "sampan-taken.scope")
	}()
	lab.Eventually(t, 5*time.Second, "the other unit", func() bool {
		return show(t, "sampan-taken.scope", "ActiveState")["ActiveState"] == "active" && groupOf(t, cmd.Process.Pid) == "/system.slice/sampan-taken.scope"
	})
	b = newBundle(t, sleeper("", nil))
	if r := b.call(ours, "run", "--bundle", b.dir, "taken"); r.Code == 0 || !strings.Contains(r.Err, "systemd has a unit of that name") {
		t.Errorf("a unit that is taken: %d %s", r.Code, r.Err)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(cmd.Process.Pid)); err != nil {
		t.Error("the other unit's process was ended")
	}
}

// A create that is killed on its way: the holder ends with it, and delete --force finds
// the rest.
func TestScopeOfAKilledCreate(t *testing.T) {
	needSystemd(t)
	ours := lab.Bin(t, "sampan-runtime")
	b := newBundle(t, sleeper("system.slice:box:killed", limits()))
	for i := range 8 {
		cmd := exec.Command(ours, "--systemd-cgroup", "--root", b.root+"/sampan-runtime", "create", "--bundle", b.dir, "killed")
		must(t, cmd.Start())
		time.Sleep(lab.Scale(time.Duration(i*2) * time.Millisecond))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b.call(ours, "delete", "--force", "killed").Must(t)
		gone(t, "box-killed.scope")
	}
}

// Delegation: the container may make groups below its own on v2.
func TestScopeIsDelegated(t *testing.T) {
	needSystemd(t)
	if !isV2(t) {
		t.Skip("a container has no group of its own to work in on cgroup v1")
	}
	ours := lab.Bin(t, "sampan-runtime")
	spec := sleeper("", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(30))}})
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev"}})
	spec.Process.Args = []string{"/bin/sh", "-c", `
cd /sys/fs/cgroup && busybox mkdir a b && echo $$ > a/cgroup.procs && echo +pids +memory > cgroup.subtree_control &&
echo 5 > b/pids.max && cat b/pids.max && exec sleep 1000`}
	spec.Process.User = specs.User{}
	spec.Linux.MaskedPaths = nil
	b := newBundle(t, spec)
	must(t, os.MkdirAll(b.dir+"/rootfs/sys/fs/cgroup", 0o755))
	b.run(ours, "deleg")
	t.Cleanup(func() { b.call(ours, "delete", "--force", "deleg") })
	group := "/sys/fs/cgroup/system.slice/sampan-deleg.scope"
	lab.Eventually(t, 5*time.Second, "the container's own groups", func() bool {
		data, _ := os.ReadFile(group + "/b/pids.max")
		return strings.TrimSpace(string(data)) == "5"
	})
	lab.Run(t, nil, "systemctl", "daemon-reload").Must(t)
	if data, err := os.ReadFile(group + "/b/pids.max"); err != nil || strings.TrimSpace(string(data)) != "5" {
		t.Errorf("after daemon-reload: %s, %v", data, err)
	}
	b.call(ours, "delete", "--force", "deleg").Must(t)
	gone(t, "sampan-deleg.scope")
}
