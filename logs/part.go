package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/compact"
	"github.com/sampan-containers/sampan/logs/logfile"
)

// part is one file of a log.
type part struct {
	f      *os.File
	info   os.FileInfo // as of the opening
	packed bool
	origin compact.Origin // of a packed one: the file that it replaces
}

// end is the present size.
func (p *part) end() (int64, error) {
	info, err := p.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// now tells the part from all other files, as long as it is open.
func (p *part) now() (compact.Origin, error) {
	if p.packed {
		return p.origin, nil
	}
	info, err := p.f.Stat()
	if err != nil {
		return compact.Origin{}, err
	}
	return compact.OriginOf(info), nil
}

// is tells whether a part is the file that cur tells of, or what replaces it. The
// inode of an open file is nobody else's; a packed one could come from an earlier
// file with that inode, but not with its size and time too.
func (p *part) is(cur compact.Origin) bool {
	if p.packed {
		return p.origin == cur
	}
	return compact.OriginOf(p.info).Inode == cur.Inode
}

// lockTries bounds the wait for a rotation, which takes microseconds unless the
// container's supervisor is stopped in the middle of it.
const (
	lockTries = 5
	lockPause = time.Millisecond
)

// openAll opens the files, oldest first. It goes from the newest to the oldest:
// a rotation meanwhile then makes a file appear twice, which is noticed, and
// never lets one be missed. In the middle of a rotation one number is vacant.
// Where files are compressed the lock keeps both from happening.
func (l *Log) openAll() ([]*part, error) {
	for range lockTries {
		fd, err := logfile.LockDir(filepath.Dir(l.path), unix.LOCK_SH)
		if err == nil {
			defer unix.Close(fd)
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause)
	}
	var files []*part
	for i, vacant := 0, 0; i < rotations && vacant < 2; i++ {
		p, err := l.open(i)
		if errors.Is(err, os.ErrNotExist) {
			vacant++
			continue
		}
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("read the container's log: %w", err)
		}
		if len(files) > 0 && os.SameFile(files[0].info, p.info) {
			p.f.Close()
			continue
		}
		vacant = 0
		files = append([]*part{p}, files...)
	}
	return files, nil
}

// open opens the file of a number; 0 is the current one.
func (l *Log) open(number int) (*part, error) {
	path := l.path
	if number > 0 {
		path = fmt.Sprintf("%s.%d", l.path, number)
	}
	p := &part{}
	var err error
	if p.f, err = os.Open(path); errors.Is(err, os.ErrNotExist) && number > 0 {
		p.packed = true
		p.f, err = os.Open(path + logfile.Compressed)
	}
	if err != nil {
		return nil, err
	}
	p.info, err = p.f.Stat()
	if err == nil && p.packed {
		p.origin, err = compact.ReadOrigin(p.f)
	}
	if err != nil {
		p.f.Close()
		return nil, err
	}
	return p, nil
}

func closeAll(files []*part) {
	for _, p := range files {
		p.f.Close()
	}
}
