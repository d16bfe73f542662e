package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDevicesByCDI gives containers what a CDI specification describes: nodes,
// variables, mounts, and a hook on the host.
func TestDevicesByCDI(t *testing.T) {
	dir := t.TempDir()
	hooked := filepath.Join(dir, "hooked")
	spec := `cdiVersion: "0.6.0"
kind: example.com/gpu
containerEdits:
  mounts: [{hostPath: ` + dir + `, containerPath: /driver, options: [ro]}]
  hooks: [{hookName: createRuntime, path: /bin/touch, args: [touch, ` + hooked + `]}]
devices:
- {name: "0", containerEdits: {env: [GPU=0], deviceNodes: [{path: /dev/gpu0, hostPath: /dev/zero}]}}
- {name: "1", containerEdits: {env: [GPU=1], deviceNodes: [{path: /dev/gpu1, hostPath: /dev/full, permissions: r}]}}
`
	if err := os.WriteFile(filepath.Join(dir, "gpu.yaml"), []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, "--cdi-spec-dir", dir)
	got := d.Docker("run", "--rm", "--gpus", "all", busybox, "sh", "-c", "head -c 3 /dev/gpu0 | wc -c; ls /dev/gpu1 /driver; echo $GPU; echo x > /dev/gpu1").Out
	if got != "3\n/dev/gpu1\n\n/driver:\ngpu.yaml\n1\n" && got != "3\n/dev/gpu1\n\n/driver:\ngpu.yaml\nhooked\n1\n" {
		t.Errorf("with all devices: %q", got)
	}
	if _, err := os.Stat(hooked); err != nil {
		t.Errorf("the hook did not run: %v", err)
	}
	if got := d.Sampan("run", "--rm", "--device", "example.com/gpu=0", busybox, "sh", "-c", "ls /dev/gpu*").Must(t); got != "/dev/gpu0" {
		t.Errorf("with one device: %q", got)
	}
	r := d.Sampan("run", "--rm", "--device", "example.com/gpu=7", busybox, "true")
	if r.Code != 125 || !strings.Contains(r.Err, "unresolvable CDI devices example.com/gpu=7 (known are: example.com/gpu=0, example.com/gpu=1") {
		t.Errorf("an unknown device: exit %d %s", r.Code, r.Err)
	}
	if got := d.Docker("info", "-f", "{{.ServerVersion}}"); got.Code != 0 {
		t.Errorf("info: %s", got.Err)
	}
}

// TestSharedMemoryHasASize looks at /dev/shm of --ipc shareable from both sides,
// and at what is left on the host.
func TestSharedMemoryHasASize(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "owner", "--ipc", "shareable", "--shm-size", "4m", busybox, "sh", "-c", "echo hi > /dev/shm/file; sleep 1000").Must(t)
	if got := d.Sampan("run", "--rm", "--ipc", "container:owner", busybox, "sh", "-c", "cat /dev/shm/file; dd if=/dev/zero of=/dev/shm/big bs=1M count=8 2>/dev/null; wc -c < /dev/shm/big").Must(t); got != "hi\n4190208" {
		t.Errorf("the other container sees %q", got)
	}
	d.Kill()
	d.Restart()
	if got := d.Sampan("exec", "owner", "cat", "/dev/shm/file").Must(t); got != "hi" {
		t.Errorf("after the daemon was killed: %q", got)
	}
	d.Sampan("rm", "-f", "owner").Must(t)
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), "/run/sampan/containers") {
		t.Errorf("a mount stays on the host: %v\n%s", err, table)
	}
}
