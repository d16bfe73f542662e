package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const sysClone3 = unix.SYS_CLONE3

// Child is a process that interprets a Program.
type Child struct {
	Pid   int
	PidFD *os.File

	p        *Program
	sock     *os.File
	messages int
}

// StartOptions say how the first process is cloned.
type StartOptions struct {
	Flags  uintptr  // CLONE_NEW* flags
	Cgroup *os.File // v2 group to be born in (Linux 5.7), or nil
	// Share lets the child use this process's memory until its execve or its exit,
	// and the caller's thread sleeps until then. That is cheaper, but right only for
	// a child that waits for nothing (Builder.Wait) and that nobody can trace: who
	// can would read and write this process too. What it forks has a copy.
	Share bool
}

// Start clones the process and lets the child run p. The child has no exit
// signal until it calls execve, so wait for it with __WALL (Child.Wait does).
func (p *Program) Start(o StartOptions) (*Child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the report socket: %w", err)
	}
	ours := os.NewFile(uintptr(pair[0]), "report")
	defer unix.Close(pair[1])

	m := &machine{ops: uintptr(unsafe.Pointer(unsafe.SliceData(p.ops)))}
	m.slots[Report], m.slots[peer] = uintptr(pair[1]), uintptr(pair[0])
	pidfd := int32(-1)
	args := &cloneArgs{
		flags: uint64(o.Flags | unix.CLONE_PIDFD),
		pidfd: uint64(uintptr(unsafe.Pointer(&pidfd))),
	}
	if o.Cgroup != nil {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(o.Cgroup.Fd())
	}
	var pid uintptr
	var errno syscall.Errno
	if o.Share && canShare {
		pid, errno = forkShared(m, args, p.region.stack())
	} else {
		pid, errno = forkAndRun(m, args)
	}
	runtime.KeepAlive(p)
	runtime.KeepAlive(o.Cgroup)
	runtime.KeepAlive(&pidfd)
	if errno != 0 {
		ours.Close()
		return nil, cloneError(errno, o)
	}
	return &Child{
		Pid:   int(pid),
		PidFD: os.NewFile(uintptr(pidfd), "pidfd"),
		p:     p,
		sock:  ours,
	}, nil
}

func cloneError(errno syscall.Errno, o StartOptions) error {
	hint := ""
	switch errno {
	case syscall.EPERM:
		hint = " (root rights are needed, or the kernel forbids new namespaces here)"
	case syscall.ENOSPC, syscall.EUSERS:
		hint = " (the limit of namespaces is reached: see /proc/sys/user/max_*_namespaces)"
	case syscall.EAGAIN:
		hint = " (the limit of processes is reached: see ulimit -u and pids.max of this control group)"
	case syscall.EINVAL:
		hint = " (the kernel was built without one of the namespaces asked for)"
	case syscall.EBUSY:
		if o.Cgroup != nil {
			hint = " (the container's control group has groups below it and cannot hold processes)"
		}
	}
	return fmt.Errorf("clone the container's first process: %w%s", errno, hint)
}

// Continue lets a child go on that waits (Builder.Wait).
func (c *Child) Continue() error {
	if _, err := unix.Write(int(c.sock.Fd()), []byte{1}); err != nil {
		return fmt.Errorf("let the process go on: %w", err)
	}
	return nil
}

// Wait reaps the child and returns its status. Somebody else may have been
// faster, then ok is false.
func (c *Child) Wait() (status syscall.WaitStatus, ok bool) { return Reap(c.Pid) }

// Kill ends the child at once and reaps it.
func (c *Child) Kill() {
	_ = unix.PidfdSendSignal(int(c.PidFD.Fd()), unix.SIGKILL, nil, 0)
	c.Wait()
}

// Reap waits for a child of this process, whatever its exit signal is.
func Reap(pid int) (status syscall.WaitStatus, ok bool) {
	for {
		got, err := syscall.Wait4(pid, &status, unix.WALL, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		return status, err == nil && got == pid
	}
}

// DoNotWait makes Next return an error instead of waiting for a message.
func (c *Child) DoNotWait() error { return unix.SetNonblock(int(c.sock.Fd()), true) }

// Close closes the report socket; PidFD stays open.
func (c *Child) Close() error { return c.sock.Close() }
