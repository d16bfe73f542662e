package launch

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// initCommand is a command under the init program.
func initCommand(t *testing.T, candidates []string, args ...string) *exec.Cmd {
	t.Helper()
	image, err := InitProgram(args[0], candidates)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(path, image, 0o500); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"--"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func TestInitProgramEndsAsItsCommand(t *testing.T) {
	sh := []string{"/no/such/sh", "/etc/passwd/sh", "/bin/sh"}
	denied := filepath.Join(t.TempDir(), "denied")
	if err := os.WriteFile(denied, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		candidates []string
		args       []string
		code       int
		out, err   string
	}{
		{"0", sh, []string{"sh", "-c", "echo $0 $1 $X", "a", "b"}, 0, "a b y\n", ""},
		{"7", sh, []string{"sh", "-c", "exit 7"}, 7, "", ""},
		{"255", sh, []string{"sh", "-c", "exit 255"}, 255, "", ""},
		{"signal", sh, []string{"sh", "-c", "kill -9 $$"}, 137, "", ""},
		{"no signal is blocked", sh, []string{"sh", "-c", "grep SigBlk /proc/$$/status | tr -d '\\t'"}, 0, "SigBlk:0000000000000000\n", ""},
		{"orphans", sh, []string{"sh", "-c", "(sleep 0.05 & ) ; sleep 0.1; exit 3"}, 3, "", ""},
		{"missing", []string{"/no/such"}, []string{"such"}, 127, "", "exec such: there is no such program in the container\n"},
		{"nothing", nil, []string{"such"}, 127, "", "exec such: there is no such program in the container\n"},
		{"directory", []string{"/etc"}, []string{"etc"}, 126, "", "exec etc: it cannot be executed: a directory, not for this user, or not for this machine\n"},
		{"denied", []string{denied, "/no/such"}, []string{"denied"}, 126, "", "exec denied: it cannot be executed: a directory, not for this user, or not for this machine\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := initCommand(t, tt.candidates, tt.args...)
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errOut, []string{"X=y", "PATH=/usr/bin:/bin"}
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if cmd.ProcessState.ExitCode() != tt.code || out.String() != tt.out || errOut.String() != tt.err {
				t.Errorf("%v, %q, %q", cmd.ProcessState, out.String(), errOut.String())
			}
		})
	}
}

func TestInitProgramPassesSignalsOn(t *testing.T) {
	cmd := initCommand(t, []string{"/bin/sh"}, "sh", "-c", `trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.01; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer limit.Stop()
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 64)
		n, _ := out.Read(buf)
		if got := strings.TrimSpace(string(buf[:n])); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	expect("ready")
	cmd.Process.Signal(syscall.SIGUSR1)
	expect("usr1")
	cmd.Process.Signal(syscall.SIGTERM)
	expect("term")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("ended with %v", err)
	}
}
