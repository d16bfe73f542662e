package firewall

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// claims is where daemons claim their tables, whatever their --exec-root. Nobody but root
// opens a file there. An abstract socket would belong to the network namespace as the
// table does, but a container on the host's network could take its name, or ask it
// (CVE-2020-15257).
const claims = "/run/sampan/tables"

// Bytes of the file that are locked.
const (
	// claimByte has an open file description lock: it keeps out a second Table of this
	// process too.
	claimByte = iota
	// nameByte has a process's lock, which tells others who that is.
	nameByte
)

// A daemon that was killed while it started a program lives on in the claim until the new
// process's execve.
const (
	claimGrace = time.Second
	claimPoll  = 5 * time.Millisecond
)

// claim makes this process the only daemon of a table in its network namespace,
// until the file is closed or the process ends. Kernels before 6.9 cannot keep the
// table for its owner, and two daemons would put back their own rules in turn for
// ever. Daemons that do not see the same /run (a mount namespace of their own, and the
// network of the host) do not see each other's claims: from 6.9 on the kernel refuses the
// second one the table; before, they must have --bridge of their own.
func claim(dir, table string) (*os.File, error) {
	f, err := tryClaim(dir, table)
	if err == nil || errors.Is(err, fault.Conflict) {
		return f, err
	}
	return nil, fault.New(fault.Unavailable, "claim the nftables table inet %s: %w", table, err)
}

func tryClaim(dir, table string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	// Tables belong to the network namespace of the thread that opens the socket.
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("find the network namespace: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%d-%s", ns.Ino, table))
	for end := time.Now().Add(claimGrace); ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		err = lock(f, unix.F_OFD_SETLK, claimByte)
		if err == nil && stillThere(f) {
			if err := lock(f, unix.F_SETLK, nameByte); err != nil {
				unclaim(f)
				return nil, fmt.Errorf("lock %s: %w", path, err)
			}
			return f, nil
		}
		pid := holder(f)
		f.Close()
		switch {
		case err == nil:
			// The one who had it removed it meanwhile.
		case !errors.Is(err, unix.EAGAIN):
			return nil, fmt.Errorf("lock %s: %w", path, err)
		case pid > 0:
			return nil, fault.New(fault.Conflict, "the nftables table inet %s belongs to another running sampand, process %d (give this one its own --bridge)", table, pid)
		case pid < 0 || time.Now().After(end):
			return nil, fault.New(fault.Conflict, "the nftables table inet %s belongs to another running sampand, which has %s locked (give this one its own --bridge)", table, path)
		default:
			time.Sleep(claimPoll)
		}
	}
}

func lock(f *os.File, cmd int, at int64) error {
	return unix.FcntlFlock(f.Fd(), cmd, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1})
}

// holder returns the process that has a claim, -1 when it is in another PID namespace,
// 0 when there is none.
func holder(f *os.File) int32 {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: nameByte, Len: 1}
	if unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l) != nil || l.Type == unix.F_UNLCK {
		return 0
	}
	if l.Pid == 0 {
		return -1
	}
	return l.Pid
}

func stillThere(f *os.File) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(ours, there)
}

// unclaim ends a claim and leaves no file.
func unclaim(f *os.File) {
	_ = os.Remove(f.Name())
	f.Close()
}
