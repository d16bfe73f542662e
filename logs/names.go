package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/compact"
	"github.com/sampan-containers/sampan/logs/logfile"
)

// How a reader finds its way while the names shift under it. A rotation renames
// the files one up, the oldest first, so at every moment:
//
//   - the numbers are in the order of the files, with one vacant number in the
//     middle of a rotation, and more only after rotations that failed or crashed;
//   - the number of a file only grows, until another file takes its name at the end.
//
// Any number of rotations may happen between two system calls, hence a listing
// proves nothing. But a file that has the same number before and after a look at its
// neighbour had it during the look, and nothing went past it: one file leads to the
// next for certain, and a look that failed is repeated from the file's new number.

const (
	// holes bounds a series of vacant numbers within a log.
	holes = 4
	// missing bounds a series of vacant numbers before a file that must be there,
	// since it has a name still: beyond, somebody gave it another one by hand.
	missing = 64
	// ahead bounds the files that a reader holds open before it gets to them, so
	// that they cannot be rotated away.
	ahead = 128
	// lockTries bounds the wait for a rotation, which takes microseconds unless
	// the container's supervisor is stopped in the middle of it.
	lockTries = 100
	lockPause = time.Millisecond
)

// errRotating tells that a rotation did not end in time.
var errRotating = errors.New("its old files are being renamed by a process that does not go on: try again")

// name is the path of the file of a number; 0 is the current one.
func (l *Log) name(number int) string {
	if l.step != nil {
		l.step()
	}
	if number == 0 {
		return l.path
	}
	return fmt.Sprintf("%s.%d", l.path, number)
}

// openAll opens the files, oldest first.
func (l *Log) openAll() ([]*part, error) {
	p, err := l.openFrom(0, missing)
	var files []*part
	for ; p != nil && err == nil; p, err = l.older(p) {
		files = append(files, p)
	}
	if err != nil {
		closeAll(files)
		return nil, fmt.Errorf("read the container's log: %w", err)
	}
	slices.Reverse(files)
	return files, nil
}

// openFrom opens the file with the lowest of limit numbers from number on; nil: there
// is none.
func (l *Log) openFrom(number, limit int) (*part, error) {
	for i := number; i < number+limit; i++ {
		if p, err := l.open(i); !errors.Is(err, os.ErrNotExist) {
			return p, err
		}
	}
	return nil, nil
}

// older opens the file before p; nil: there is none.
func (l *Log) older(p *part) (*part, error) {
	for {
		q, err := l.openFrom(p.number+1, holes)
		if err != nil {
			return nil, err
		}
		here, _, err := l.at(p, p.number)
		if here {
			return q, nil
		}
		if q != nil {
			q.f.Close()
		}
		if err != nil {
			return nil, err
		}
		if found, err := l.locate(p); err != nil || !found {
			return nil, err // rotated away, and all older ones before it
		}
	}
}

// newer opens the file after p; nil: there is none yet. Gone tells that p was
// rotated away, so that all files there are now are newer.
func (l *Log) newer(p *part) (q *part, gone bool, err error) {
	for {
		if found, err := l.locate(p); err != nil || !found {
			return nil, !found && err == nil, err
		}
		if p.number == 0 {
			return nil, false, nil
		}
		q, err := l.openBelow(p.number)
		if err != nil {
			return nil, false, err
		}
		next := -1
		if q != nil {
			next = q.number
		}
		same, err := l.unmoved(p, next)
		if same {
			return q, false, nil
		}
		if q != nil {
			q.f.Close()
		}
		if err != nil {
			return nil, false, err
		}
	}
}

// openBelow opens the file with the highest number below number; nil: there is none.
func (l *Log) openBelow(number int) (*part, error) {
	for i := number - 1; i >= 0; i-- {
		if p, err := l.open(i); !errors.Is(err, os.ErrNotExist) {
			return p, err
		}
	}
	return nil, nil
}

// unmoved tells whether p has its number still and all numbers between next and p's
// are vacant still: a file that went there since would have stayed there.
func (l *Log) unmoved(p *part, next int) (bool, error) {
	for i := p.number - 1; i > next; i-- {
		if vacant, err := l.vacant(i); err != nil || !vacant {
			return false, err
		}
	}
	here, _, err := l.at(p, p.number)
	return here, err
}

func (l *Log) vacant(number int) (bool, error) {
	for _, kind := range []string{"", logfile.Compressed} {
		_, err := os.Lstat(l.name(number) + kind)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// locate finds p's number of now. It returns false when p was rotated away.
func (l *Log) locate(p *part) (bool, error) {
	found, err := l.scan(p)
	if found || err != nil || p.packed {
		return found, err
	}
	// It may have been compressed and moved on meanwhile. Where that is done, names
	// change under the lock only.
	for range lockTries {
		fd, err := logfile.LockDir(filepath.Dir(l.path), unix.LOCK_SH)
		if errors.Is(err, unix.EWOULDBLOCK) {
			l.name(0)
			time.Sleep(lockPause)
			continue
		}
		if err == nil {
			defer unix.Close(fd)
		}
		return l.scan(p)
	}
	return false, errRotating
}

// scan looks for p from the number on that it had.
func (l *Log) scan(p *part) (bool, error) {
	for i, vacant := p.number, 0; ; i++ {
		here, free, err := l.at(p, i)
		if err != nil {
			return false, err
		}
		if here {
			p.number = i
			return true, nil
		}
		if !free {
			vacant = 0
			continue
		}
		if vacant++; vacant >= holes {
			n, err := p.links()
			if err != nil || n == 0 || vacant >= missing {
				return false, err
			}
		}
	}
}

// at tells whether the file of a number is p, or what replaced it, and whether there
// is none.
func (l *Log) at(p *part, number int) (here, vacant bool, err error) {
	if !p.packed {
		info, err := os.Lstat(l.name(number))
		if err == nil {
			return os.SameFile(info, p.info), false, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, false, err
		}
	}
	q, err := l.open(number)
	if errors.Is(err, os.ErrNotExist) {
		return false, true, nil
	}
	if err != nil {
		return false, false, err
	}
	defer q.f.Close()
	if os.SameFile(q.info, p.info) {
		return true, false, nil
	}
	if p.packed || !q.packed {
		return false, false, nil
	}
	cur, err := p.now()
	return err == nil && q.origin == cur, false, err
}

// open opens the file of a number.
func (l *Log) open(number int) (*part, error) {
	p := &part{number: number}
	var err error
	if p.f, err = os.Open(l.name(number)); errors.Is(err, os.ErrNotExist) && number > 0 {
		p.packed = true
		p.f, err = os.Open(l.name(number) + logfile.Compressed)
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

// links is the number of names that the part's file has.
func (p *part) links() (uint64, error) {
	info, err := p.f.Stat()
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, nil
	}
	return uint64(st.Nlink), nil
}
