// Package tree removes and measures directory trees of which every name was
// chosen by somebody else. It works from directory descriptors and never
// follows a link, so a tree that changes meanwhile can mislead a count but not
// lead outside. Trees may be nested deeper than a process may have open files
// or a path may be long.
//
// A Bin makes removal quick for whoever waits: one rename, then deletion in
// the background, which the next Open of the Bin resumes after a crash.
package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// maxDepth bounds the directories one walk holds open.
	maxDepth = 64
	// direntBuffer is what one getdents64 call may return.
	direntBuffer = 32 << 10
)

type entry struct {
	name string
	dir  bool
}

// each calls f for the entries of an open directory until the end or an error.
// f may remove the entry it is given.
func each(fd int, f func(entry) error) error {
	buf := make([]byte, direntBuffer)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("getdents64", err)
		}
		if n <= 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) > 0; {
			e, size := parse(fd, rest)
			rest = rest[size:]
			if e.name == "." || e.name == ".." {
				continue
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
}

// parse decodes one struct linux_dirent64: inode 8, offset 8, record length 2,
// type 1, then the NUL-terminated name.
func parse(fd int, b []byte) (entry, int) {
	const typeAt, nameAt = 18, 19
	size := int(binary.NativeEndian.Uint16(b[16:]))
	name := b[nameAt:size]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	e := entry{name: string(name), dir: b[typeAt] == unix.DT_DIR}
	if b[typeAt] == unix.DT_UNKNOWN {
		var st unix.Stat_t
		err := unix.Fstatat(fd, e.name, &st, unix.AT_SYMLINK_NOFOLLOW)
		e.dir = err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
	}
	return e, size
}

func openDir(dirfd int, name string) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
