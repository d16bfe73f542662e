package terminal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/cli/pty"
)

// modeEnv makes the test binary play the program that leaves in a given way.
const modeEnv = "SAMPAN_TEST_GUARD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		leave(mode)
		return
	}
	os.Exit(m.Run())
}

// leave goes into raw mode, says so, and ends in the given way.
func leave(mode string) {
	g := &Guard{}
	defer g.Restore()
	if err := g.Raw(NewIn(os.Stdin)); err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	fmt.Print("ready\r\n")
	switch mode {
	case "return":
	case "panic":
		go func() {
			defer g.OnPanic()
			panic("on purpose")
		}()
		select {}
	case "pipe":
		r, w, err := os.Pipe()
		if err == nil {
			r.Close()
			// As if the standard output were a pipe whose reader left.
			if err = unix.Dup3(int(w.Fd()), 1, 0); err == nil {
				fmt.Println("into the void")
			}
		}
		select {}
	default: // wait for a signal
		select {}
	}
}

// TestRestoredOnEveryExit: the terminal is as before, however the program ends.
func TestRestoredOnEveryExit(t *testing.T) {
	for _, c := range []struct {
		mode   string
		signal syscall.Signal
	}{
		{"return", 0}, {"panic", 0}, {"pipe", 0},
		{"signal", syscall.SIGTERM}, {"signal", syscall.SIGHUP}, {"signal", syscall.SIGINT}, {"signal", syscall.SIGQUIT},
	} {
		t.Run(fmt.Sprint(c.mode, " ", c.signal), func(t *testing.T) {
			master, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			defer tty.Close()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), modeEnv+"="+c.mode)
			pty.Attach(cmd, tty)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			watchdog := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
			defer watchdog.Stop()
			line, err := bufio.NewReader(master).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "ready") {
				t.Fatalf("said %q (%v)", line, err)
			}
			if c.signal != 0 {
				if raw, err := pty.Raw(tty); !raw || err != nil {
					t.Fatalf("not in raw mode (%v)", err)
				}
				if err := cmd.Process.Signal(c.signal); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait()
			if raw, err := pty.Raw(tty); raw || err != nil {
				t.Errorf("left raw (%v)", err)
			}
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); c.signal != 0 && status.Signal() != c.signal && !(c.signal == syscall.SIGQUIT && status.ExitStatus() == 131) {
				t.Errorf("ended with %v, a shell expects the signal %v", cmd.ProcessState, c.signal)
			}
		})
	}
}
