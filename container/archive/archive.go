// Package archive knows Docker's rules for the files of a container: what a path
// of cp means, how an archive's entries are named, and which changes diff and
// commit see. It works below root descriptors only (kernel/inroot, kernel/archive);
// package container brings the roots.
package archive

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/archive"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	// maxPath is PATH_MAX.
	maxPath = 4096
	// maxLinks is the kernel's limit for links in one path (MAXSYMLINKS).
	maxLinks = 40
)

// Clean makes a request's path absolute and keeps what a slash or "/." at its end
// says: that what is there is followed, and its content meant.
func Clean(p string) (string, error) {
	if p == "" {
		return "", fault.New(fault.Invalid, "no path given: path cannot be empty")
	}
	if len(p) > maxPath || strings.IndexByte(p, 0) >= 0 {
		return "", fault.New(fault.Invalid, "invalid path of %d bytes: at most %d bytes, none of them NUL, make a path", len(p), maxPath)
	}
	clean := path.Clean("/" + p)
	switch {
	case clean == "/":
	case p == "." || strings.HasSuffix(p, "/."):
		clean += "/."
	case strings.HasSuffix(p, "/"):
		clean += "/"
	}
	return clean, nil
}

// Stat describes the file at a cleaned path; of a link it tells where it leads
// inside the root.
func Stat(root *inroot.Root, p string) (*container.PathStat, error) {
	st, err := root.Lstat(p)
	if err != nil {
		return nil, err
	}
	out := &container.PathStat{Name: base(p), Size: st.Size, Mode: fileMode(st.Mode), Mtime: time.Unix(st.Mtim.Unix())}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		out.LinkTarget, err = evaluate(root, p)
	}
	return out, err
}

func base(p string) string {
	if p == "/" {
		return "/"
	}
	return path.Base(strings.TrimSuffix(p, "/."))
}

// evaluate follows a path to its end as text. What does not exist stays as it is.
// The answer is for people and for a next request, which resolves it anew.
func evaluate(root *inroot.Root, p string) (string, error) {
	done, rest := "/", strings.Split(p, "/")
	for links := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		if rest[0] == "" || rest[0] == "." || rest[0] == ".." {
			done, rest = next, rest[1:]
			continue
		}
		target, err := root.Readlink(next)
		if err != nil {
			done, rest = next, rest[1:]
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: p, Err: unix.ELOOP}
		}
		rest = append(strings.Split(target, "/"), rest[1:]...)
		if strings.HasPrefix(target, "/") {
			done = "/"
		}
		if len(rest) > maxPath {
			return "", &fs.PathError{Op: "resolve", Path: p, Err: unix.ENAMETOOLONG}
		}
	}
	return done, nil
}

// Write sends what is at a cleaned path as a tar. Its entries begin with the
// path's last name, by which clients rename them; those of "/x/." with "./".
func Write(ctx context.Context, w io.Writer, root *inroot.Root, p string, o archive.PackOptions) error {
	name := base(p)
	if strings.HasSuffix(p, "/.") {
		name = "."
	}
	t := tar.NewWriter(w)
	if err := archive.Pack(ctx, t, root, p, name, o); err != nil {
		return err
	}
	return t.Close()
}

// Refuse gives an error of a container's files its class and Docker's words.
func Refuse(id, p string, err error) error {
	switch {
	case err == nil, fault.Of(err) != nil:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "Could not find the file %s in container %s", p, id)
	case errors.Is(err, unix.EROFS):
		return fault.New(fault.Forbidden, "container rootfs is marked read-only, or the volume at that place is: %w", err)
	case errors.Is(err, archive.ErrInvalid), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG),
		errors.Is(err, unix.EINVAL), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EEXIST), errors.Is(err, unix.EBUSY):
		return fault.New(fault.Invalid, "container %s: %w", id, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.New(fault.Exhausted, "container %s: %w", id, err)
	}
	return err
}

// fileMode translates a mode of the kernel into Go's, which is the API's.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	if mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&unix.S_ISVTX != 0 {
		m |= os.ModeSticky
	}
	return m
}
