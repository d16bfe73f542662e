package inroot

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// maxDepth is how many directories RemoveAll holds open; deeper ones are
	// moved up first, so that a hostile tree costs neither descriptors nor stack.
	maxDepth = 48
	// maxPasses bounds how often one directory is listed again because entries
	// keep appearing, or because the file system skips names while others go.
	maxPasses = 64
	// maxMoves bounds the directories moved up, should a live process make deep
	// trees as fast as we remove them.
	maxMoves = 1 << 20
)

// Remove removes a file or an empty directory.
func (r *Root) Remove(path string) error {
	return r.named("remove", path, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		return err
	})
}

// RemoveAll removes path and everything below it; a missing path is no error.
// It works on descriptors only, never follows a link and refuses to enter a
// mounted file system (EXDEV), so that a volume mounted inside is never emptied.
// After a failure it goes on with the other entries and returns the first error.
func (r *Root) RemoveAll(path string) error {
	const op = "remove"
	dir, base, err := r.parent(op, path)
	if isErrno(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	w := remover{path: path, top: -1}
	w.entry(dir, base, true, 0)
	if w.err != nil {
		return failed(op, path, w.err)
	}
	return nil
}

// remover is one RemoveAll.
type remover struct {
	path  string
	top   int // the outermost directory being removed, where deep ones are moved to
	moved int
	kept  int   // entries that could not be removed
	err   error // the first failure
}

func (w *remover) fail(name string, err error) {
	if err == unix.ENOENT {
		return
	}
	w.kept++
	if w.err != nil {
		return
	}
	if err == unix.EBUSY || err == unix.EXDEV {
		err = mounted{err.(unix.Errno)}
	}
	w.err = err
	if name != "" {
		w.err = failed("remove", name, err)
	}
}

// mounted says what EBUSY and EXDEV mean here.
type mounted struct{ errno unix.Errno }

func (m mounted) Error() string        { return "a file system is mounted there; unmount it first" }
func (m mounted) Is(target error) bool { return target == m.errno }

// entry removes one name of dir; isDir is what the listing said, which may be wrong.
func (w *remover) entry(dir int, name string, isDir bool, depth int) {
	shown := name
	if depth == 0 {
		shown = "" // the caller adds the path
	}
	for pass := 0; pass < maxPasses; pass++ {
		var err error
		if !isDir {
			if err = unix.Unlinkat(dir, name, 0); err == unix.EISDIR {
				isDir = true
				continue
			}
		} else if err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err == unix.ENOTDIR {
			isDir = false
			continue
		}
		switch err {
		case nil, unix.ENOENT:
			return
		case unix.EINTR:
			continue
		case unix.ENOTEMPTY, unix.EEXIST:
		default:
			w.fail(shown, err)
			return
		}
		if depth >= maxDepth && w.moveUp(dir, name) {
			return
		}
		moved, kept := w.moved, w.kept
		err = w.content(dir, name, depth)
		if w.moved != moved {
			pass-- // what was moved up makes another pass necessary
		}
		switch err {
		case nil, unix.ENOTDIR, unix.ELOOP, unix.EINTR, unix.EAGAIN, unix.ENOENT:
			// Emptied, or swapped for something else: look again.
		default:
			w.fail(shown, err)
			return
		}
		if w.kept != kept {
			return // what is in it stays, and so does it
		}
	}
	w.fail(shown, unix.ENOTEMPTY)
}

// moveUp takes a deep directory out of its place and puts it below the top one,
// which is listed again afterwards. Where the file system refuses (overlay
// cannot rename a lower directory) the caller goes deeper instead.
func (w *remover) moveUp(dir int, name string) bool {
	for range maxAttempts {
		if w.moved == maxMoves {
			return false
		}
		w.moved++
		err := unix.Renameat2(dir, name, w.top, ".removed-"+strconv.Itoa(w.moved), unix.RENAME_NOREPLACE)
		if err == nil {
			return true
		}
		if err != unix.EEXIST && err != unix.EINTR {
			return false
		}
	}
	return false
}

// content removes what is in the directory. An error is one of opening or
// reading the directory itself; failures of entries go to w.err.
func (w *remover) content(dir int, name string, depth int) error {
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if depth == 0 {
		w.top = fd
	}
	return dirents(fd, func(child string, typ uint8) error {
		w.entry(fd, child, typ == unix.DT_DIR, depth+1)
		return nil
	})
}

// isErrno reports whether err is, or wraps, the given number.
func isErrno(err error, want unix.Errno) bool {
	var got unix.Errno
	return errors.As(err, &got) && got == want
}
