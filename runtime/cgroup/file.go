package cgroup

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// maxRead bounds what is read from one cgroup or proc file. A mount table with
// thousands of mounts, or a group with the most processes a kernel can have, fits.
const maxRead = 64 << 20

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func open(name string, flags int) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Open(name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func openPath(dir string) (int, error) { return open(dir, unix.O_PATH|unix.O_DIRECTORY) }

func mkdir(dir string) error { return retry(func() error { return unix.Mkdir(dir, dirMode) }) }

func rmdir(dir string) error { return retry(func() error { return unix.Rmdir(dir) }) }

// readFile is os.ReadFile without its poller and without a stat that says
// nothing about files in proc and cgroupfs.
func readFile(name string) ([]byte, error) { return readAt(unix.AT_FDCWD, name) }

func readAt(dir int, name string) ([]byte, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 256)
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= maxRead {
				return nil, fmt.Errorf("read %s: more than %d bytes", name, maxRead)
			}
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

// writeFile writes a value with one write: the kernel takes each write as one command.
func writeFile(name, value string) error {
	fd, err := open(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return writeTo(fd, value)
}

func writeTo(fd int, value string) error {
	return retry(func() error {
		_, err := unix.Write(fd, []byte(value))
		return err
	})
}
