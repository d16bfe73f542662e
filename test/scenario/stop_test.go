package scenario

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// The end of the host is a clean stop for every container: side by side, each with its
// own signal and time-out.
func TestSystemStop(t *testing.T) {
	d := start(t)
	out := t.TempDir()
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	const each = 6
	for i := range each {
		name := "clean" + strconv.Itoa(i)
		d.Sampan("run", "-d", "--name", name, "--restart", "unless-stopped", "--stop-signal", "USR1", "-v", out+":/out", busybox,
			"sh", "-c", `trap "sleep 1; echo `+name+` >> /out/ended; exit 0" USR1; touch /out/`+name+`; while :; do sleep 0.02; done`).Must(t)
	}
	d.Sampan("run", "-d", "--name", "deaf", "--stop-timeout", "1", busybox, "sh", "-c", `trap "" TERM; while :; do sleep 0.02; done`).Must(t)
	d.Sampan("run", "-d", "--name", "gone", "--rm", "--stop-timeout", "1", busybox, "sleep", "1000").Must(t)
	lab.Eventually(t, 10*time.Second, "all are ready", func() bool {
		files, _ := filepath.Glob(out + "/clean*")
		return len(files) == each
	})
	began := time.Now()
	names := strings.Fields(d.Sampan("system", "stop").Must(t))
	if took := time.Since(began); took > lab.Scale(each*time.Second) {
		t.Errorf("it took %v: one after the other", took)
	}
	if len(names) != each+2 {
		t.Errorf("stopped %q", names)
	}
	raw, _ := os.ReadFile(out + "/ended")
	if n := len(strings.Fields(string(raw))); n != each {
		t.Errorf("%d of %d containers ended by themselves", n, each)
	}
	if conn, err := net.Dial("unix", "/run/sampan/sampan.sock"); err == nil {
		conn.Close()
		t.Error("the daemon still answers")
	}
	if r := d.Sampan("system", "stop"); r.Code == 0 || !strings.Contains(r.Err, "Cannot connect") {
		t.Errorf("without a daemon: exit %d, %q", r.Code, r.Err)
	}
	d.Stop()
	d.Restart()
	lab.Eventually(t, 10*time.Second, "what has a restart policy runs again", func() bool {
		return len(strings.Fields(d.Sampan("ps", "-q").Out)) == each
	})
	if got := d.Sampan("ps", "-a", "--filter", "status=exited", "--format", "{{.Names}} {{.Status}}").Must(t); !strings.HasPrefix(got, "deaf Exited (137)") {
		t.Errorf("exited: %q", got)
	}
	d.Sampan("rm", "-f", "clean0", "clean1", "clean2", "clean3", "clean4", "clean5").Must(t)
	d.Sampan("run", "-d", "--name", "slow", busybox, "sh", "-c", `trap "" TERM; while :; do sleep 0.02; done`).Must(t)
	began = time.Now()
	if got := d.Sampan("system", "stop", "-t", "0").Must(t); got != "slow" || time.Since(began) > lab.Scale(8*time.Second) {
		t.Errorf("stopped %q after %v", got, time.Since(began))
	}
	d.Stop()
}

// An upgrade replaces the program of the daemon in the same process; containers run on.
func TestUpgrade(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "one", busybox, "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done").Must(t)
	pid := d.Sampan("inspect", "-f", "{{.State.Pid}}", "one").Must(t)
	daemon := d.Pid()
	before := readyCount(d)
	if err := syscall.Kill(daemon, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 10*time.Second, "the daemon is there again", func() bool { return readyCount(d) > before })
	if got := d.Sampan("inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "one").Must(t); got != pid+" running" {
		t.Errorf("after the upgrade: %q, want %s running", got, pid)
	}
	d.Sampan("exec", "one", "true").Must(t)
	if err := syscall.Kill(daemon, 0); err != nil {
		t.Errorf("the daemon's process: %v", err)
	}
	lines := strings.Split(d.Sampan("logs", "one").Must(t), "\n")
	for i, line := range lines {
		if line != strconv.Itoa(i) {
			t.Fatalf("line %d of the log is %q", i, line)
		}
	}
}

func readyCount(d *lab.Daemon) int { return strings.Count(d.Log(), "msg=ready") }
