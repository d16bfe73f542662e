package pidfd

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestLife(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if ended, err := Ended(p, 0); ended || err != nil {
		t.Fatalf("a running process: ended %v, error %v", ended, err)
	}
	if err := Signal(p, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if ended, err := Ended(p, 10*time.Second); !ended || err != nil {
		t.Fatalf("after SIGTERM: ended %v, error %v", ended, err)
	}
	cmd.Wait()
	if err := Signal(p, syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal to the dead: %v", err)
	}
	if _, err := Open(1 << 22); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("open of a number above pid_max: %v", err)
	}
}
