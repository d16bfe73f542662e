package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/launcher"
)

// TestMain lets the test binary be the shim: with plain processes instead of
// containers, or with the real runtime.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		if os.Args[2] == "hang" {
			time.Sleep(time.Hour)
		}
		if strings.HasPrefix(os.Args[2], "plain") {
			lim := defaultLimits()
			if strings.HasPrefix(os.Args[2], "plain-impatient") {
				lim = limits{spillAfter: 20 * time.Millisecond, stall: 500 * time.Millisecond, spill: 1 << 20, spills: 1}
			}
			os.Exit(run(plainLauncher{}, lim))
		}
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// plainLauncher starts processes of the host, so that what the loop does can be
// tested without a container.
type plainLauncher struct{}

type plainContainer struct{ process *os.Process }

func (plainLauncher) Launch(ls *runtime.LaunchSpec) (*launcher.Launched, error) {
	p, err := plainStart(ls.Spec.Process, ls.Stdio)
	if err != nil {
		return nil, err
	}
	process, err := os.FindProcess(p.Pid)
	if err != nil {
		return nil, err
	}
	return &launcher.Launched{Pid: p.Pid, PidFD: p.PidFD, Console: p.Console, Container: plainContainer{process}}, nil
}

func (plainContainer) RootDir() *os.File { return nil }

func plainStart(p *specs.Process, stdio [3]*os.File) (*runtime.Process, error) {
	path, err := exec.LookPath(p.Args[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %s", runtime.ErrNotFound, p.Args[0])
	}
	attr := &syscall.ProcAttr{Env: p.Env, Dir: "/", Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}}
	var console, tty *os.File
	if p.Terminal {
		if console, tty, err = openPTY(); err != nil {
			return nil, err
		}
		defer tty.Close()
		if size := p.ConsoleSize; size != nil {
			if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, winsize(uint32(size.Height), uint32(size.Width))); err != nil {
				return nil, err
			}
		}
		stdio = [3]*os.File{tty, tty, tty}
		attr.Sys.Setctty = true
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	for _, f := range stdio {
		if f == nil {
			f = null
		}
		attr.Files = append(attr.Files, f.Fd())
	}
	pid, err := syscall.ForkExec(path, p.Args, attr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	return &runtime.Process{Pid: pid, PidFD: os.NewFile(uintptr(fd), "pidfd"), Console: console}, nil
}

func openPTY() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, errno
	}
	return os.NewFile(uintptr(fd), "ptmx"), os.NewFile(peer, "pty"), nil
}

func (c plainContainer) Exec(e *runtime.ExecSpec) (*runtime.Process, error) {
	return plainStart(e.Process, e.Stdio)
}

func (plainContainer) Namespace(kind specs.LinuxNamespaceType) (*os.File, error) {
	if kind != specs.NetworkNamespace {
		return nil, errors.New("no such namespace")
	}
	return os.Open("/proc/self/ns/net")
}

func (plainContainer) OOMKilled() (bool, error) { return false, nil }
func (plainContainer) Destroy() error           { return nil }
