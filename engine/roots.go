package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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

// Lock keeps a second daemon off a data root.
type Lock struct{ f *os.File }

// maxPid bounds the text of a pid file.
const maxPid = 32

// LockRoot takes the data root's lock, or fails with fault.Conflict and the
// pid of the daemon that has it. The lock ends with the process, however it ends.
func LockRoot(dir string) (*Lock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "data root %s is in use by another sampand%s; stop that one, or give this one its own --data-root", dir, owner(f))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := errors.Join(f.Truncate(0), writePid(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

func writePid(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func owner(f *os.File) string {
	buf := make([]byte, maxPid)
	n, _ := f.ReadAt(buf, 0)
	if pid := string(bytes.TrimSpace(buf[:n])); pid != "" {
		return " (pid " + pid + ")"
	}
	return ""
}

// Unlock gives the data root free.
func (l *Lock) Unlock() error { return l.f.Close() }

// WritePidFile writes this process's pid. A file that names another daemon that
// runs is fault.Conflict; one left by a crash is replaced.
func WritePidFile(path string) error {
	if raw, err := os.ReadFile(path); err == nil && len(raw) <= maxPid {
		pid := strings.TrimSpace(string(raw))
		// The number may have been given to any other program meanwhile.
		comm, err := os.ReadFile("/proc/" + filepath.Base(pid) + "/comm")
		if err == nil && pid != strconv.Itoa(os.Getpid()) && strings.TrimSpace(string(comm)) == "sampand" {
			return fault.New(fault.Conflict, "pid file %s: sampand with pid %s is running; stop it, or choose another --pidfile", path, pid)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// RemovePidFile removes the file if it is this process's.
func RemovePidFile(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(raw)) != strconv.Itoa(os.Getpid()) {
		return nil
	}
	return os.Remove(path)
}
