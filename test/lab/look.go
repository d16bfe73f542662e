package lab

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Mounts is the mount table as this process sees it, a mount point a line.
func Mounts(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var points strings.Builder
	for line := range strings.Lines(string(raw)) {
		points.WriteString(strings.Fields(line)[4] + "\n")
	}
	return points.String()
}

// OurProcesses lists the processes whose command name begins with "sampan".
func OurProcesses(t testing.TB) []string {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var ours []string
	for _, dir := range dirs {
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err == nil && strings.HasPrefix(string(comm), "sampan") {
			ours = append(ours, filepath.Base(dir)+" "+strings.TrimSpace(string(comm)))
		}
	}
	return ours
}

// ShimOf returns the pid of the shim of a running container.
func (d *Daemon) ShimOf(name string) int {
	d.t.Helper()
	init := d.Sampan("inspect", "-f", "{{.State.Pid}}", name).Must(d.t)
	raw, err := os.ReadFile(filepath.Join("/proc", init, "status"))
	if err != nil {
		d.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "PPid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				d.t.Fatal(err)
			}
			return pid
		}
	}
	d.t.Fatalf("%s has no parent", name)
	return 0
}
