package systemd

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// driver is the daemon's option.
const driver = "--exec-opt=native.cgroupdriver=systemd"

func TestDaemon(t *testing.T) {
	needSystemd(t)
	d := lab.Start(t, driver)
	for _, client := range []struct {
		name string
		run  func(args ...string) lab.Result
	}{{"sampan", d.Sampan}, {"docker", d.Docker}} {
		t.Run(client.name, func(t *testing.T) { life(t, d, client.run) })
	}
}

func life(t *testing.T, d *lab.Daemon, run func(args ...string) lab.Result) {
	if got := run("info", "--format", "{{.CgroupDriver}}").Must(t); got != "systemd" {
		t.Errorf("info says %s", got)
	}
	id := run("run", "-d", "-m", "64m", "--cpus", "0.5", "--pids-limit", "40", "sampan/box", "sleep", "1000").Must(t)
	unit := "sampan-" + id + ".scope"
	group := "/system.slice/" + unit
	props := show(t, unit, "Slice", "Delegate", "ActiveState", "TasksMax", "CPUQuotaPerSecUSec")
	if props["Slice"] != "system.slice" || props["Delegate"] != "yes" || props["ActiveState"] != "active" || props["TasksMax"] != "40" || props["CPUQuotaPerSecUSec"] != "500ms" {
		t.Errorf("the unit: %v", props)
	}
	if got := read(t, group, "memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("memory limit %s", got)
	}
	run("update", "-m", "96m", "--memory-swap", "128m", "--pids-limit", "50", id).Must(t)
	if got := read(t, group, "memory.limit_in_bytes", "memory.max"); got != "100663296" {
		t.Errorf("memory limit after the update %s", got)
	}
	if got := show(t, unit, "TasksMax")["TasksMax"]; got != "50" {
		t.Errorf("TasksMax after the update %s", got)
	}
	if out := run("exec", id, "cat", "/proc/self/cgroup").Must(t); strings.Contains(out, "..") {
		t.Errorf("an exec is elsewhere: %s", out)
	}
	run("pause", id).Must(t)
	run("unpause", id).Must(t)
	if out := run("stats", "--no-stream", "--format", "{{.PIDs}}", id).Must(t); strings.TrimSpace(out) == "0" || strings.TrimSpace(out) == "" {
		t.Errorf("stats: %q processes", out)
	}
	if out := run("top", id).Must(t); !strings.Contains(out, "sleep") {
		t.Errorf("top: %s", out)
	}

	// The daemon goes, and comes back with the other driver: it finds the container.
	d.Kill()
	d.Restart("--exec-opt=native.cgroupdriver=cgroupfs")
	run("pause", id).Must(t)
	run("unpause", id).Must(t)
	d.Stop()
	d.Restart(driver)
	run("restart", "-t", "0", id).Must(t)
	if got := show(t, unit, "ActiveState")["ActiveState"]; got != "active" {
		t.Errorf("after restart the unit is %s", got)
	}
	run("rm", "-f", id).Must(t)
	gone(t, unit)

	// One that ends of its own accord, one that fails, one in a slice.
	id = run("run", "-d", "sampan/box", "true").Must(t)
	run("wait", id).Must(t)
	gone(t, "sampan-"+id+".scope")
	run("rm", id).Must(t)
	if r := run("run", "--rm", "sampan/box", "/missing"); r.Code != 127 {
		t.Errorf("a missing program: %d %s", r.Code, r.Err)
	}
	for range 5 {
		run("run", "--rm", "sampan/box", "true").Must(t)
	}
	id = run("run", "-d", "--cgroup-parent", "sampantest-web.slice", "sampan/box", "sleep", "1000").Must(t)
	if got := show(t, "sampan-"+id+".scope", "ControlGroup")["ControlGroup"]; got != "/sampantest.slice/sampantest-web.slice/sampan-"+id+".scope" {
		t.Errorf("in a slice: %s", got)
	}
	if r := run("run", "--rm", "--cgroup-parent", "/web", "sampan/box", "true"); r.Code == 0 || !strings.Contains(r.Err, "xxx.slice") {
		t.Errorf("a parent that is no slice: %d %s", r.Code, r.Err)
	}
	run("rm", "-f", id).Must(t)
	gone(t, "sampan-"+id+".scope")
	if left := run("ps", "-aq").Must(t); left != "" {
		t.Errorf("left: %s", left)
	}
	lab.Eventually(t, 5*time.Second, "the end of all scopes", func() bool {
		return strings.TrimSpace(lab.Run(t, nil, "systemctl", "list-units", "--all", "--plain", "--no-legend", "sampan-*.scope").Must(t)) == ""
	})
}

// Other runtimes are asked for scopes too.
func TestOtherRuntime(t *testing.T) {
	needSystemd(t)
	own := filepath.Join(t.TempDir(), "runc")
	lab.Run(t, nil, "cp", lab.Bin(t, "sampan-runtime"), own).Must(t)
	flags := []string{driver, "--add-runtime=own=" + own}
	names := []string{"own"}
	if lab.Run(t, nil, "sh", "-c", "command -v runc").Code == 0 {
		flags, names = append(flags, "--add-runtime=runc=runc"), append(names, "runc")
	}
	d := lab.Start(t, flags...)
	for _, name := range names {
		id := d.Docker("run", "-d", "--runtime", name, "-m", "64m", "sampan/box", "sleep", "1000").Must(t)
		unit := "sampan-" + id + ".scope"
		if got := show(t, unit, "ActiveState")["ActiveState"]; got != "active" {
			t.Errorf("%s: the unit is %s", name, got)
		}
		d.Docker("update", "-m", "96m", "--memory-swap", "128m", id).Must(t)
		if got := read(t, "/system.slice/"+unit, "memory.limit_in_bytes", "memory.max"); got != "100663296" {
			t.Errorf("%s: memory limit after the update %s", name, got)
		}
		d.Docker("rm", "-f", id).Must(t)
		gone(t, unit)
	}
}
