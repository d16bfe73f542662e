package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// MakeRoots makes the data root (0700: nobody but root may reach an image's
// setuid programs, CVE-2021-41091) and the exec root: 0700 too, or 0711 where a
// group may use the socket, so that its members pass through and see nothing else.
func MakeRoots(data, exec string, group bool) error {
	execMode := os.FileMode(0o700)
	if group {
		execMode = 0o711
	}
	if err := makeRoot(data, 0o700); err != nil {
		return fmt.Errorf("data root: %w", err)
	}
	if err := makeRoot(exec, execMode); err != nil {
		return fmt.Errorf("exec root: %w", err)
	}
	return makeRoot(filepath.Join(exec, "containers"), 0o700)
}

func makeRoot(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

// Lock keeps a second daemon off a file of ours.
type Lock struct{ f *os.File }

// maxPid bounds the text of a pid file.
const maxPid = 32

// lockGrace is how long the lock of a process that is gone is waited for.
const (
	lockGrace = 2 * time.Second
	lockPoll  = 5 * time.Millisecond
)

// LockRoot takes the data root's lock, or fails with fault.Conflict and the
// pid of the daemon that has it. The lock ends with the process, however it ends.
func LockRoot(dir string) (*Lock, error) {
	l, err := lockFile(filepath.Join(dir, "lock"))
	var held held
	if errors.As(err, &held) {
		return nil, fault.New(fault.Conflict, "data root %s is in use by another sampand%s; stop that one, or give this one its own --data-root", dir, held.owner)
	}
	return l, err
}

// LockPidFile writes this process's pid to a file and locks it. A file that
// another daemon holds is fault.Conflict; one left by a crash is replaced, whoever
// has its number by now.
func LockPidFile(path string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	l, err := lockFile(path)
	var held held
	if errors.As(err, &held) {
		return nil, fault.New(fault.Conflict, "pid file %s belongs to a sampand that runs%s; stop it, or choose another --pidfile", path, held.owner)
	}
	return l, err
}

// held tells that another process has the lock.
type held struct{ owner string }

func (h held) Error() string { return "the file is locked" + h.owner }

// lockFile locks a file and writes this process's pid to it.
func lockFile(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	// A daemon that was killed while it started a program lives on in the locks that the
	// new process has until its execve.
	for end := time.Now().Add(lockGrace); errors.Is(err, unix.EWOULDBLOCK) && !lives(f) && time.Now().Before(end); {
		time.Sleep(lockPoll)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, held{owner(f)}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

func owner(f *os.File) string {
	if pid := ownerPid(f); pid != "" {
		return " (pid " + pid + ")"
	}
	return ""
}

func ownerPid(f *os.File) string {
	buf := make([]byte, maxPid)
	n, _ := f.ReadAt(buf, 0)
	return string(bytes.TrimSpace(buf[:n]))
}

// lives tells whether the process that a lock names still runs; one that has ended and
// was not waited for has no program any more.
func lives(f *os.File) bool {
	_, err := os.Readlink(filepath.Join("/proc", filepath.Base(ownerPid(f)), "exe"))
	return !errors.Is(err, os.ErrNotExist)
}

// Unlock gives the lock free and leaves the file.
func (l *Lock) Unlock() error { return l.f.Close() }

// Remove removes the file and gives the lock free.
func (l *Lock) Remove() error { return errors.Join(os.Remove(l.f.Name()), l.f.Close()) }
