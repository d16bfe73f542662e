// Package lab gives a test its own small machine: a network, mount and pid
// namespace with a loopback, a tmpfs on /run and on the default data root, and
// an init that reaps. A daemon of Sampan runs there with its defaults, beside
// nothing else, and whatever a failed test leaves ends with the namespaces.
//
// What the product itself leaves is still found: Main compares mounts, links,
// tables, namespaces, cgroups and processes before and after, and fails.
//
// A test package uses it as:
//
//	func TestMain(m *testing.M) { lab.Main(m) }
package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	stageEnv = "SAMPAN_LAB_STAGE"
	// DataRoot is sampand's default data root; in the lab it is a tmpfs.
	DataRoot = "/var/lib/sampan"
)

// Main runs the tests of the package inside the lab and exits.
func Main(m *testing.M) {
	switch os.Getenv(stageEnv) {
	case "":
		os.Exit(enter())
	case "init":
		os.Exit(initProcess())
	default:
		os.Exit(runTests(m))
	}
}

// enter starts this test binary again as pid 1 of new namespaces.
func enter() int {
	if os.Geteuid() != 0 {
		fmt.Println("these tests start containers: run them as root")
		return 1
	}
	// The child must die with this process, and the kernel looks at the thread.
	runtime.LockOSThread()
	cmd := again("init")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	return status(cmd.Run())
}

func again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageEnv+"="+stage)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func status(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	default:
		fmt.Println("lab:", err)
		return 1
	}
}

// initProcess is pid 1: it sets the namespaces up, starts the tests and reaps
// every orphan until they end.
func initProcess() int {
	if err := setUp(); err != nil {
		fmt.Println("lab:", err)
		return 1
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	tests := again("tests")
	if err := tests.Start(); err != nil {
		fmt.Println("lab:", err)
		return 1
	}
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == tests.Process.Pid && ws.Exited():
			return ws.ExitStatus()
		case pid == tests.Process.Pid:
			fmt.Println("lab: the tests were ended by", ws.Signal())
			return 1
		}
	}
}

func setUp() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	if err := os.MkdirAll(DataRoot, 0o700); err != nil {
		return err
	}
	volatile := []string{"/run", DataRoot}
	if os.Getenv("SAMPAN_VM") != "" {
		// Linux before 6.3 maps no ids on a tmpfs; the virtual machine's disk ends with it.
		volatile = volatile[:1]
		disk, err := os.MkdirTemp("/var/tmp", "lab")
		if err == nil {
			err = errors.Join(os.Chmod(disk, 0o755), unix.Mount(disk, DataRoot, "", unix.MS_BIND, ""))
		}
		if err != nil {
			return fmt.Errorf("mount a directory of the disk on %s: %w", DataRoot, err)
		}
	}
	for _, dir := range volatile {
		if err := unix.Mount("lab", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func runTests(m *testing.M) int {
	before := survey()
	code := m.Run()
	// Namespaces and cgroups end a moment after their last process.
	var left []string
	for range 50 {
		if left = survey().beyond(before); len(left) == 0 {
			return code
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("FAIL: left behind by the tests:")
	for _, line := range left {
		fmt.Println("  ", line)
	}
	return 1
}

// Bin returns the path of one of the project's binaries and fails the test
// when it was not built.
func Bin(t testing.TB, name string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "../../bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run make build first", name)
	}
	return path
}

// Cache returns the path of a file that test/*.sh prepared.
func Cache(t testing.TB, name string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "../../.cache", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf(".cache/%s is missing: make test prepares it (test/debian.sh)", name)
	}
	return path
}
