package inroot

import (
	"bytes"
	"encoding/binary"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Entry is one name of a directory.
type Entry struct {
	Name string
	Type fs.FileMode // type bits only; fs.ModeIrregular when the file system does not say
}

// ReadDir lists at most max entries of a directory in the kernel's order, without
// "." and ".."; more are an error (EOVERFLOW). 0 means no limit.
func (r *Root) ReadDir(path string, max int) ([]Entry, error) {
	const op = "read directory"
	fd, err := r.openat2(op, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var list []Entry
	err = dirents(fd, func(name string, typ uint8) error {
		if max > 0 && len(list) == max {
			return unix.EOVERFLOW
		}
		list = append(list, Entry{Name: name, Type: entryType(typ)})
		return nil
	})
	if err != nil {
		return nil, failed(op, path, err)
	}
	return list, nil
}

func entryType(typ uint8) fs.FileMode {
	switch typ {
	case unix.DT_REG:
		return 0
	case unix.DT_DIR:
		return fs.ModeDir
	case unix.DT_LNK:
		return fs.ModeSymlink
	case unix.DT_FIFO:
		return fs.ModeNamedPipe
	case unix.DT_SOCK:
		return fs.ModeSocket
	case unix.DT_CHR:
		return fs.ModeDevice | fs.ModeCharDevice
	case unix.DT_BLK:
		return fs.ModeDevice
	}
	return fs.ModeIrregular
}

// The layout of struct linux_dirent64, getdents64(2).
const (
	direntReclen = 16
	direntType   = 18
	direntName   = 19
	direntBuffer = 16 << 10
)

// dirents calls each for every entry. os.File.ReadDir is not used, since it
// joins paths to find out types.
func dirents(fd int, each func(name string, typ uint8) error) error {
	buf := make([]byte, direntBuffer)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return nil
		}
		for b := buf[:n]; len(b) > direntName; {
			size := int(binary.NativeEndian.Uint16(b[direntReclen:]))
			if size <= direntName || size > len(b) {
				return unix.EIO // a file system in user space may answer nonsense
			}
			name, _, _ := bytes.Cut(b[direntName:size], []byte{0})
			typ := b[direntType]
			b = b[size:]
			// A name with "/" would let a FUSE server lead us elsewhere.
			if s := string(name); s != "." && s != ".." && s != "" && bytes.IndexByte(name, '/') < 0 {
				if err := each(s, typ); err != nil {
					return err
				}
			}
		}
	}
}
