package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/lab"
)

// Numbered lines from many containers all arrive, once each, while the daemon
// is killed again and again; pids stay, exits that happen meanwhile are right,
// and a wait that was started after the restart returns.
func TestDaemonKilledWhileContainersWrite(t *testing.T) {
	const writers = 20
	d := start(t)
	script := `trap "exit 5" TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done`
	pids := map[string]string{}
	for i := range writers {
		name := fmt.Sprintf("w%d", i)
		d.Sampan("run", "-d", "--name", name, busybox, "sh", "-c", script).Must(t)
		pids[name] = d.Sampan("inspect", "-f", "{{.State.Pid}}", name).Must(t)
	}
	d.Sampan("run", "-d", "--name", "brief", busybox, "sh", "-c", "sleep 0.5; exit 42").Must(t)
	d.Sampan("run", "-d", "--rm", "--name", "gone", busybox, "sh", "-c", "sleep 0.5").Must(t)
	d.Kill()
	time.Sleep(time.Second)
	d.Restart()
	if out := d.Sampan("wait", "brief").Must(t); out != "42" {
		t.Errorf("exit code of the one that ended meanwhile = %q, want 42", out)
	}
	if r := d.Sampan("inspect", "gone"); r.Code == 0 {
		t.Error("the --rm container that ended meanwhile is still there")
	}
	for range counts.Of("daemon.kill.writing") {
		d.Kill()
		d.Restart()
		if n := len(strings.Fields(d.Sampan("ps", "-q").Must(t))); n != writers {
			t.Fatalf("ps right after the restart shows %d containers, want %d", n, writers)
		}
	}
	for name, pid := range pids {
		if now := d.Sampan("inspect", "-f", "{{.State.Pid}}", name).Must(t); now != pid {
			t.Errorf("%s: pid %s became %s", name, pid, now)
		}
	}
	wait := exec.Command(lab.Bin(t, "sampan"), "wait", "w0")
	out := &strings.Builder{}
	wait.Stdout = out
	if err := wait.Start(); err != nil {
		t.Fatal(err)
	}
	for name := range pids {
		d.Sampan("kill", "-s", "TERM", name).Must(t)
	}
	if err := wait.Wait(); err != nil || strings.TrimSpace(out.String()) != "5" {
		t.Errorf("wait started after the restarts: %v, %q; want 5", err, out)
	}
	for name := range pids {
		d.Sampan("wait", name).Must(t)
		for i, line := range strings.Split(d.Sampan("logs", name).Must(t), "\n") {
			if line != strconv.Itoa(i+1) {
				t.Errorf("%s: line %d of its log is %q", name, i+1, line)
				break
			}
		}
	}
}

// A killed shim takes its container with it, and no other.
func TestShimKilled(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "victim", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "other", busybox, "sleep", "1000").Must(t)
	id := d.Sampan("inspect", "-f", "{{.Id}}", "victim").Must(t)
	pid, err := strconv.Atoi(d.Sampan("inspect", "-f", "{{.State.Pid}}", "victim").Must(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(d.ShimOf("victim"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 5*time.Second, "the container is reported dead", func() bool {
		return d.Sampan("inspect", "-f", "{{.State.Running}}", "victim").Must(t) == "false"
	})
	lab.Eventually(t, 5*time.Second, "its process is gone", func() bool {
		return syscall.Kill(pid, 0) == syscall.ESRCH
	})
	lab.Eventually(t, 5*time.Second, "its cgroup is gone", func() bool {
		_, err := os.Stat("/sys/fs/cgroup/memory/sampan/" + id)
		return os.IsNotExist(err)
	})
	if out := d.Sampan("ps", "--format", "{{.Names}}").Must(t); out != "other" {
		t.Errorf("running: %q, want other", out)
	}
	d.Sampan("start", "victim").Must(t)
}
