package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/fdpass"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// startSocket is where a held container waits for `start`, in its state directory.
// The container's process itself accepts the connection, and tells over it why its
// execve failed; the end of the connection without a word means success. So no
// process of the runtime stays behind between create and start.
const startSocket = "start.sock"

// Listen makes the socket for LaunchSpec.HoldSocket at stateDir/start.sock, where
// Release finds it. The directory must be closed to everybody but root.
func Listen(stateDir string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the start socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), startSocket)
	if weak.Off("socket") {
		return f, errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: "@sampan-start"}), unix.Listen(fd, 1))
	}
	err = atSocket(stateDir, func(addr unix.Sockaddr) error {
		if err := unix.Bind(fd, addr); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("make the start socket in %s: %w", stateDir, err)
	}
	return f, nil
}

// atSocket calls with the address of the socket. The path goes through a descriptor
// of the directory, since an address has room for 107 bytes only.
func atSocket(stateDir string, call func(unix.Sockaddr) error) error {
	dir, err := os.OpenFile(stateDir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return call(&unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), startSocket)})
}

// barrier adds the wait before the execve. With a socket the report socket is
// replaced by the connection of whoever calls Release.
func (l *launcher) barrier() {
	b := l.b
	if l.s.FindProgram {
		b.AtSite(launch.Site{What: "exec " + l.process.Args[0], Class: errExec})
		b.FindProgram(Candidates(l.process.Args[0], l.process.Env))
	}
	b.At("wait for the start", launch.Hint{Errno: syscall.EPIPE, Text: "the runtime that created the container has ended"})
	if l.s.HoldSocket == nil {
		b.Wait()
		return
	}
	socket := l.untilFD(l.s.HoldSocket)
	b.Say(launch.Waits, launch.Int(0))
	conn := b.Slot()
	b.Call(unix.SYS_ACCEPT4, socket, launch.Int(0), launch.Int(0), launch.Int(unix.SOCK_CLOEXEC)).Into(conn)
	b.Call(unix.SYS_DUP3, launch.In(conn), launch.In(launch.Report), launch.Int(unix.O_CLOEXEC))
	b.Close(conn)
	b.Call(unix.SYS_CLOSE, socket)
}

// Start lets a held container go on and returns after its execve. If that fails the
// process has ended and is reaped. A container held by a socket is started by Release.
func (c *Container) Start() error {
	c.mu.Lock()
	w := c.held
	c.held = nil
	c.mu.Unlock()
	if w == nil {
		return fault.New(fault.Conflict, "start container %s: it is not held", c.ID)
	}
	w.held, w.hold = false, false
	if err := w.child.Continue(); err != nil {
		w.abort()
		return fault.New(fault.Conflict, "start container %s: its first process has ended", c.ID)
	}
	if err := w.listen(); err != nil {
		return err
	}
	c.started()
	return nil
}

// Release lets a container go on that was launched with Hold and Listen's socket,
// possibly by another process, and returns after its execve. spec is needed to name
// the program when the execve fails. The socket is removed.
//
// state is the container's, for a seccomp listener.
func Release(ctx context.Context, stateDir string, spec *specs.Spec, state *specs.State) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)
	err = atSocket(stateDir, func(addr unix.Sockaddr) error { return unix.Connect(fd, addr) })
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
		return fault.New(fault.Conflict, "start: the container is not in the state created; its process has started or has ended")
	}
	if err != nil {
		return fmt.Errorf("start: reach the container's process: %w", err)
	}
	if err := os.Remove(filepath.Join(stateDir, startSocket)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start: %w", err)
	}
	return result(ctx, fd, spec, state)
}

// result reads what the container's process says until its execve.
func result(ctx context.Context, fd int, spec *specs.Spec, state *specs.State) error {
	const pause = 100 * time.Millisecond // how often ctx is looked at
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("start: wait for the execve: %w", err)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(pause.Milliseconds()))
		if n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		var buf [launch.RecordSize + 1]byte
		n, files, err := fdpass.Recv(fd, buf[:], 1)
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		r, err := launch.ParseRecord(buf[:n])
		if err == nil && len(files) > 0 {
			err = lateListener(spec, state, files[0])
		}
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		if r.Kind == launch.Failed {
			return lateError(r, programName(spec))
		}
	}
}

// lateListener hands on the seccomp listener of a process that was held.
func lateListener(spec *specs.Spec, state *specs.State, f *os.File) error {
	if spec == nil || spec.Linux == nil || spec.Linux.Seccomp == nil || spec.Linux.Seccomp.ListenerPath == "" || state == nil {
		f.Close()
		return errTalk
	}
	return seccomp.SendListener(spec.Linux.Seccomp, f, state.Pid, state)
}

func programName(spec *specs.Spec) string {
	if spec == nil || spec.Process == nil || len(spec.Process.Args) == 0 {
		return "the program"
	}
	return spec.Process.Args[0]
}

// lateSteps are the system calls between the barrier and the execve.
var lateSteps = map[uint32]string{
	unix.SYS_PRLIMIT64:     "set the resource limits",
	unix.SYS_PERSONALITY:   "set the personality",
	unix.SYS_SET_MEMPOLICY: "set the memory policy",
	unix.SYS_SENDMSG:       "send the seccomp listener (a profile with SCMP_ACT_NOTIFY must allow sendmsg)",
	unix.SYS_SETGROUPS:     "set the supplementary groups",
	unix.SYS_SETRESGID:     "set the group id",
	unix.SYS_SETRESUID:     "set the user id",
	unix.SYS_CAPSET:        "set the capabilities",
	unix.SYS_PRCTL:         "set the capabilities or no_new_privs",
	unix.SYS_SECCOMP:       "load the seccomp profile",
	unix.SYS_IOCTL:         "take the terminal",
	unix.SYS_WAIT4:         "run the startContainer hooks",
}

// lateError names a failure without the program's list of sites, which was in the
// memory of the process that created the container.
func lateError(r launch.Record, program string) error {
	switch {
	case r.Call == 0 && r.Errno == unix.ECANCELED:
		return errors.New("error running startContainer hooks: one of them ended with a failure")
	case r.Call == 0 && r.Errno == unix.ETIMEDOUT:
		return errors.New("error running startContainer hooks: one of them did not end in its time")
	case r.Call == 0 || r.Call == unix.SYS_EXECVE:
		return execError(program, r.Errno)
	}
	what, ok := lateSteps[r.Call]
	if !ok {
		what = fmt.Sprintf("prepare the process (system call %d)", r.Call)
	}
	return fmt.Errorf("%s: %s", what, plain(r.Errno))
}
