package firewall

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// claimEnv has this program claim a table in a directory, start a child that outlives it, say
// so and wait.
const claimEnv = "SAMPAN_FIREWALL_TEST_CLAIM"

func holdClaim(dir string) {
	f, err := claim(dir, "sampan0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("claimed", child.Process.Pid)
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	unclaim(f)
	os.Exit(0)
}

// startClaim starts holdClaim in the namespace of the test or one of its own, and returns
// its child too.
func startClaim(t *testing.T, dir string, flags uintptr) (cmd *exec.Cmd, child int) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), claimEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanf(said, "claimed %d\n", &child); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(child, unix.SIGKILL) })
	return cmd, child
}

// TestClaim: one daemon a table and network namespace, by name; what it was killed in the
// middle of keeps nobody out, and nor do its children.
func TestClaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "tables")
	cmd, child := startClaim(t, dir, 0)
	if _, err := claim(dir, "sampan0"); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", cmd.Process.Pid)) {
		t.Errorf("a table that process %d has: %v", cmd.Process.Pid, err)
	}
	other, err := claim(dir, "sampan1")
	if err != nil {
		t.Fatalf("another table: %v", err)
	}
	unclaim(other)
	elsewhere, _ := startClaim(t, dir, syscall.CLONE_NEWNET)
	if err := elsewhere.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = elsewhere.Wait()

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := unix.Kill(child, 0); err != nil {
		t.Fatalf("the child of the killed daemon: %v", err)
	}
	f, err := claim(dir, "sampan0")
	if err != nil {
		t.Fatalf("after kill -9, with a child that lives: %v", err)
	}
	if _, err := claim(dir, "sampan0"); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second table of the same process: %v", err)
	}
	unclaim(f)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 { // that of the other namespace

		t.Errorf("left at the end: %v, %v", left, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the claims: %v, %v", st.Mode(), err)
	}
}

// TestNoAbstractSocket: a container on the host's network finds nothing that listens (S1).
func TestNoAbstractSocket(t *testing.T) {
	tab, err := Open(config(), networks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tab.Remove(); err != nil {
			t.Error(err)
		}
	}()
	raw, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "@") {
		t.Errorf("abstract sockets:\n%s", raw)
	}
}
