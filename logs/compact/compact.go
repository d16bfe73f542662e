// Package compact replaces the old files of containers' logs by compressed ones.
// It runs in the daemon, so that a container's supervisor needs neither the code
// nor the memory: what is rotated while no daemon is there is compressed later.
//
// A Compactor watches the directories of logs by one inotify descriptor and does
// one file at a time. The names of old files move up with each rotation; both
// sides hold the directory's lock (logfile.LockDir) while they change names, and
// neither ever waits for it for long.
package compact

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
)

const (
	// temporary is the name of a file that is being written.
	temporary = "compressing"
	fileMode  = 0o600
	// lockTries and lockPause bound the wait for a rotation that is under way.
	lockTries = 100
	lockPause = 10 * time.Millisecond
)

// compress replaces one old file of the log at path, whose number may change
// meanwhile.
func compress(path string, number int) (retErr error) {
	f, err := os.Open(path + "." + strconv.Itoa(number))
	if err != nil {
		return ignoreMissing(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), temporary)
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, ignoreMissing(os.Remove(tmp)))
		}
	}()
	if err := write(tmp, f, OriginOf(info)); err != nil {
		return err
	}
	// Readers that want what is new pass over old files by their time.
	if err := os.Chtimes(tmp, info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	return publish(path, tmp, info, number)
}

func write(tmp string, from io.Reader, o Origin) (err error) {
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	z.Extra = o.encode()
	if _, err := io.Copy(z, from); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return out.Sync() // the plain file goes next
}

// publish gives the compressed file the number that the plain one has by now.
func publish(path, tmp string, plain os.FileInfo, number int) error {
	lock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("lock the directory of log %s: %w", path, err)
	}
	defer unix.Close(lock)
	for vacant := 0; vacant < 2; number++ {
		name := path + "." + strconv.Itoa(number)
		now, err := os.Stat(name)
		if err != nil {
			vacant++ // it was replaced, or lies further up
			continue
		}
		if !os.SameFile(now, plain) {
			continue
		}
		if err := os.Rename(tmp, name+logfile.Compressed); err != nil {
			return err
		}
		return os.Remove(name)
	}
	return os.Remove(tmp) // rotated away meanwhile
}

func lockDir(dir string) (fd int, err error) {
	for range lockTries {
		if fd, err = logfile.LockDir(dir, unix.LOCK_EX); !errors.Is(err, unix.EWOULDBLOCK) {
			return fd, err
		}
		time.Sleep(lockPause)
	}
	return fd, err
}

// waiting lists the numbers of the old files of the log at path that are not
// compressed, the oldest first.
func waiting(path string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var numbers []int
	for _, e := range entries {
		if n, ok := number(filepath.Base(path), e.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// number reads the number in the name of an old file.
func number(base, name string) (int, bool) {
	text, ok := strings.CutPrefix(name, base+".")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Origin tells which file a compressed one replaces; readers who hold that one
// open find their place by it.
type Origin struct {
	Inode uint64
	Size  int64
	Time  int64 // of the last write, nanoseconds since 1970
}

// OriginOf describes a plain file.
func OriginOf(info os.FileInfo) Origin {
	o := Origin{Size: info.Size(), Time: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		o.Inode = st.Ino
	}
	return o
}
