package logfile

import (
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Compressed is the end of the name of an old file that was compressed.
const Compressed = ".gz"

// rotate renames the files one up and begins a new one. When that fails the
// current file goes on beyond its limit, since losing the log would be worse.
func (w *Writer) rotate() {
	err := w.shift()
	if err == unix.EWOULDBLOCK {
		return // an old file is just being replaced: with the next entry, then
	}
	if err == nil {
		err = w.open(unix.O_EXCL)
	}
	if err != nil && !w.warnedRotate {
		w.warnedRotate = true
		w.opt.Warn(fmt.Sprintf("rotate log %s: %v", w.opt.Path, err))
	}
}

func (w *Writer) shift() error {
	if w.opt.MaxFiles == 1 {
		return ignoreMissing(unix.Unlink(w.opt.Path))
	}
	if w.opt.Compress {
		fd, err := LockDir(filepath.Dir(w.opt.Path), unix.LOCK_EX)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// A rename replaces a file of the same kind only.
		last := w.opt.Path + "." + strconv.Itoa(w.opt.MaxFiles-1)
		if err := ignoreMissing(unix.Unlink(last)); err != nil {
			return err
		}
		if err := ignoreMissing(unix.Unlink(last + Compressed)); err != nil {
			return err
		}
	}
	for i := w.opt.MaxFiles - 1; i > 0; i-- {
		from, to := w.opt.Path, w.opt.Path+"."+strconv.Itoa(i)
		if i > 1 {
			from += "." + strconv.Itoa(i-1)
			if w.opt.Compress {
				if err := ignoreMissing(unix.Rename(from+Compressed, to+Compressed)); err != nil {
					return err
				}
			}
		}
		if err := ignoreMissing(unix.Rename(from, to)); err != nil {
			return err
		}
	}
	return nil
}

// LockDir takes the lock on the names of the old files in a log's directory, how:
// LOCK_EX or LOCK_SH. It never waits: EWOULDBLOCK means that somebody has it. The
// lock goes with the descriptor. Only logs whose old files are compressed need it.
func LockDir(dir string, how int) (fd int, err error) {
	fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Flock(fd, how|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func ignoreMissing(err error) error {
	if err == unix.ENOENT {
		return nil
	}
	return err
}
