package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An image of criu begins with two magic numbers; each message follows its length.
const (
	imageHeader = 8
	maxCore     = 4 << 20
	// The field thread_core of a core image (images/core.proto of criu), and its field
	// pdeath_sig.
	threadCore = 5
	deathSig   = 8
)

// clearDeathSignal takes the signal out of a checkpoint that the first process gets when
// its parent ends. A supervisor has set it; the parent at the restore is a program that
// ends at once.
func clearDeathSignal(images string, pid int) error {
	name := filepath.Join(images, fmt.Sprintf("core-%d.img", pid))
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open the image of the first process: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() < imageHeader+4 || st.Size() > maxCore {
		return fmt.Errorf("%s is not an image of criu", name)
	}
	data := make([]byte, st.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return err
	}
	length := int(binary.LittleEndian.Uint32(data[imageHeader:]))
	from := imageHeader + 4
	if length > len(data)-from {
		return fmt.Errorf("%s is not an image of criu", name)
	}
	at, size, found, err := field(data[:from+length], from, threadCore<<3|2)
	if err == nil && found {
		at, size, found, err = field(data[:at+size], at, deathSig<<3)
	}
	if err != nil || !found {
		return err
	}
	// As many bytes as before: a number may have zeros in front.
	for i := range size - 1 {
		data[at+i] = 0x80
	}
	data[at+size-1] = 0
	_, err = f.WriteAt(data[at:at+size], int64(at))
	return err
}

// field finds a field, by number and wire type, of the protocol buffer message that begins
// at from and ends with data, and returns where its value lies.
func field(data []byte, from int, wanted uint64) (at, size int, found bool, err error) {
	broken := errors.New("an image of criu is not a protocol buffer")
	for from < len(data) {
		key, n := binary.Uvarint(data[from:])
		if n <= 0 {
			return 0, 0, false, broken
		}
		from += n
		switch key & 7 {
		case 0:
			if _, size = binary.Uvarint(data[from:]); size <= 0 {
				return 0, 0, false, broken
			}
		case 1:
			size = 8
		case 2:
			length, n := binary.Uvarint(data[from:])
			if n <= 0 || length > uint64(len(data)) {
				return 0, 0, false, broken
			}
			from, size = from+n, int(length)
		case 5:
			size = 4
		default:
			return 0, 0, false, broken
		}
		if size > len(data)-from {
			return 0, 0, false, broken
		}
		if key == wanted {
			return from, size, true, nil
		}
		from += size
	}
	return 0, 0, false, nil
}
