package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

func TestMemoryLimit(t *testing.T) {
	d := start(t)
	// tail keeps the line without an end in its memory.
	r := d.Sampan("run", "--name", "hog", "--network", "none", "-m", "16m", "--memory-swap", "16m", busybox, "sh", "-c", "dd if=/dev/zero bs=1M count=200 | busybox tail -n 1; exit 3")
	if r.Code != 3 && r.Code != 137 {
		t.Errorf("exit %d, stderr %q", r.Code, r.Err)
	}
	if got := d.Sampan("inspect", "-f", "{{.State.OOMKilled}} {{.HostConfig.Memory}}", "hog").Must(t); got != "true 16777216" {
		t.Errorf("OOMKilled and limit %q", got)
	}
	if r := d.Sampan("run", "--rm", "-m", "16m", busybox, "true"); r.Code != 0 {
		t.Errorf("a program that fits: exit %d, stderr %q", r.Code, r.Err)
	}
}

func TestProcessLimit(t *testing.T) {
	d := start(t)
	r := d.Sampan("run", "--rm", "--network", "none", "--pids-limit", "5", busybox, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo made")
	if r.Code == 0 || strings.Contains(r.Out, "made") {
		t.Errorf("9 processes under a limit of 5: exit %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
	}
}

func TestDeviceRules(t *testing.T) {
	d := start(t)
	node := func(extra ...string) lab.Result {
		args := append([]string{"run", "--rm", "--network", "none"}, extra...)
		// 1:7 is the full device, which every container may use, 1:11 the kernel log.
		return d.Sampan(append(args, busybox, "sh", "-c",
			`mknod /tmp/full c 1 7 && cat /tmp/full | head -c 1 | wc -c; mknod /tmp/kmsg c 1 11 && echo text > /tmp/kmsg && echo written`)...)
	}
	r := node()
	if strings.Contains(r.Out, "written") || !strings.HasPrefix(r.Out, "1") || !strings.Contains(r.Err, "not permitted") {
		t.Errorf("default rules: stdout %q, stderr %q; want that the full device works and kmsg does not", r.Out, r.Err)
	}
	if r := node("--device-cgroup-rule", "c 1:11 w"); !strings.Contains(r.Out, "written") {
		t.Errorf("with a rule: stdout %q, stderr %q", r.Out, r.Err)
	}
}

func TestUpdateAndPause(t *testing.T) {
	d := start(t)
	id := d.Sampan("run", "-d", "--network", "none", "-m", "64m", "--cpus", "0.5", busybox, "sh", "-c", "while :; do echo tick; sleep 0.02; done").Must(t)
	d.Sampan("update", "-m", "32m", "--memory-swap", "32m", "--cpus", "0.7", "--pids-limit", "20", id).Must(t)
	limits := d.Sampan("exec", id, "sh", "-c", `cd /sys/fs/cgroup
cat memory.max memory/memory.limit_in_bytes 2>/dev/null
cat pids.max pids/pids.max 2>/dev/null
cat cpu.max cpu/cpu.cfs_quota_us 2>/dev/null | grep -o '^[0-9]*'`)
	if got := strings.Fields(limits.Out); strings.Join(got, " ") != "33554432 20 70000" {
		t.Errorf("limits after update: %q, stderr %q", limits.Out, limits.Err)
	}
	d.Sampan("pause", id).Must(t)
	lines := func() int { return strings.Count(d.Sampan("logs", id).Out, "\n") }
	before := lines()
	time.Sleep(200 * time.Millisecond)
	if after := lines(); after != before {
		t.Errorf("a paused container wrote %d lines", after-before)
	}
	d.Sampan("unpause", id).Must(t)
	lab.Eventually(t, 5*time.Second, "the container writes again", func() bool { return lines() > before })
	d.Sampan("pause", id).Must(t)
	d.Sampan("rm", "-f", id).Must(t)
}

func TestSharedNamespaces(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "first", busybox, "sleep", "1000").Must(t)
	r := d.Sampan("run", "--rm", "--pid", "container:first", "--network", "container:first", "--ipc", "host", busybox, "ps")
	if r.Code != 0 || !strings.Contains(r.Out, "sleep 1000") {
		t.Errorf("exit %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
	}
	r = d.Sampan("run", "--rm", "--pid", "host", "--network", "host", "--uts", "host", busybox, "ps")
	if r.Code != 0 || !strings.Contains(r.Out, "sampan") {
		t.Errorf("host's: exit %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
	}
}
