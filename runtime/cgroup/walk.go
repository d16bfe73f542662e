package cgroup

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep groups of a container are followed. Each level holds a
// descriptor open; a privileged container on v1 can nest as deep as it likes.
const maxDepth = 256

// walk calls visit for the group at dir and for every group below it, parents
// first. It works on descriptors, so that the names a container chose never
// become a path. A group that goes away meanwhile is left out.
func walk(dir string, visit func(fd int) error) error {
	fd, err := openPath(dir)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open cgroup %s: %w", dir, err)
	}
	defer unix.Close(fd)
	return walkAt(fd, dir, 0, visit)
}

func walkAt(fd int, dir string, depth int, visit func(fd int) error) error {
	if depth == maxDepth {
		return fmt.Errorf("cgroup %s has groups nested deeper than %d", dir, maxDepth)
	}
	if err := visit(fd); err != nil && !gone(err) {
		return err
	}
	return children(fd, func(name string) error {
		child, err := openat(fd, name)
		if gone(err) || err == unix.ENOTDIR {
			return nil
		}
		if err != nil {
			return fmt.Errorf("open cgroup %q below %s: %w", name, dir, err)
		}
		defer unix.Close(child)
		return walkAt(child, dir, depth+1, visit)
	})
}

func openat(dir int, name string) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// gone reports whether an error says that a group was removed: ENODEV is what
// reading a file of a removed group gives.
func gone(err error) bool {
	n := errnoOf(err)
	return n == unix.ENOENT || n == unix.ENODEV
}

// children calls each for the groups directly below. The number of links of a
// kernfs directory tells whether there are any, which saves listing the files of
// each group: the memory controller alone has thirty.
func children(fd int, each func(name string) error) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Nlink <= 2 {
		return nil
	}
	var list int
	err := retry(func() (err error) {
		list, err = unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := subdirectories(list)
	unix.Close(list)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := each(name); err != nil {
			return err
		}
	}
	return nil
}

// maxSubgroups bounds the groups below one group.
const maxSubgroups = 1 << 17

func subdirectories(fd int) ([]string, error) {
	// The layout of struct linux_dirent64, getdents64(2).
	const reclen, typ, start = 16, 18, 19
	var names []string
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			return names, nil
		}
		for b := buf[:n]; len(b) > start; {
			size := int(binary.NativeEndian.Uint16(b[reclen:]))
			if size <= start || size > len(b) {
				return nil, unix.EIO
			}
			name, _, _ := bytes.Cut(b[start:size], []byte{0})
			if b[typ] == unix.DT_DIR && string(name) != "." && string(name) != ".." {
				if len(names) == maxSubgroups {
					return nil, fmt.Errorf("more than %d groups in one group", maxSubgroups)
				}
				names = append(names, string(name))
			}
			b = b[size:]
		}
	}
}

// Procs lists the processes of the group and of the groups below it, in all
// hierarchies: a privileged container may have moved one out of some of them.
func (g *Group) Procs() ([]int, error) {
	var all []int
	for i := range g.parts {
		pids, err := g.parts[i].procs()
		if err != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (p *part) procs() ([]int, error) {
	var pids []int
	err := walk(p.dir(), func(fd int) error {
		data, err := readAt(fd, "cgroup.procs")
		if errnoOf(err) == unix.EOPNOTSUPP {
			return nil // a threaded v2 group; the processes are listed by its domain
		}
		if err != nil {
			return fmt.Errorf("list the processes of cgroup %s: %w", p.dir(), err)
		}
		for f := range bytes.FieldsSeq(data) {
			pid, err := strconv.Atoi(string(f))
			if err != nil {
				return fmt.Errorf("list the processes of cgroup %s: %w", p.dir(), err)
			}
			// 0 is a process outside our own pid namespace.
			if pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}
