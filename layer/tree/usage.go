package tree

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// maxLinks bounds how many hard-linked inodes Size remembers; further links of
// further inodes are counted each time.
const maxLinks = 1 << 16

// maxUsageDepth bounds the directories that Size holds open; what lies deeper
// is not counted.
const maxUsageDepth = 256

// Size adds up the sizes of the regular files below dir, each inode once. It
// tolerates a tree that changes meanwhile.
func Size(ctx context.Context, dir string) (int64, error) {
	u := usage{ctx: ctx, seen: map[inode]struct{}{}}
	if err := u.walk(unix.AT_FDCWD, dir, 0); err != nil {
		return 0, err
	}
	return u.size, nil
}

type inode struct{ dev, ino uint64 }

type usage struct {
	ctx  context.Context
	size int64
	seen map[inode]struct{}
}

func (u *usage) walk(dirfd int, name string, depth int) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	fd, err := openDir(dirfd, name)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	return each(fd, func(e entry) error {
		if !e.dir {
			return u.add(fd, e.name)
		}
		if depth == maxUsageDepth {
			return nil
		}
		err := u.walk(fd, e.name, depth+1)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil
		}
		return err
	})
}

func (u *usage) add(fd int, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if _, ok := u.seen[key]; ok {
			return nil
		}
		if len(u.seen) < maxLinks {
			u.seen[key] = struct{}{}
		}
	}
	u.size += st.Size
	return nil
}
