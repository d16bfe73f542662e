package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// removers is how many trees are deleted at the same time. More only queue up
// in the file system's locks.
const removers = 2

// Bin is a directory whose content is being deleted. It is safe for concurrent
// use, by one process.
type Bin struct {
	dir string
	fd  int
	log *slog.Logger

	mu      sync.Mutex
	idle    sync.Cond
	queue   []string
	next    uint64
	running int
	closed  bool
}

// OpenBin opens or makes the directory and begins to delete what is in it.
func OpenBin(dir string, log *slog.Logger) (*Bin, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	b := &Bin{dir: dir, fd: fd, log: log}
	b.idle.L = &b.mu
	err = each(fd, func(e entry) error {
		if n, err := strconv.ParseUint(e.name, 10, 64); err == nil && n >= b.next {
			b.next = n + 1
		}
		b.queue = append(b.queue, e.name)
		return nil
	})
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	b.mu.Lock()
	b.work()
	b.mu.Unlock()
	return b, nil
}

// Take moves path, on the same file system, into the bin: it is gone when Take
// returns, and its files follow. A missing path is no error.
func (b *Bin) Take(path string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := strconv.FormatUint(b.next, 10)
	b.next++
	err := os.Rename(path, filepath.Join(b.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	b.queue = append(b.queue, name)
	b.work()
	return nil
}

// Wait returns when nothing is left to delete.
func (b *Bin) Wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.running > 0 {
		b.idle.Wait()
	}
}

// Close stops after the trees that are being deleted; the rest is left for the
// next OpenBin.
func (b *Bin) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	for b.running > 0 {
		b.idle.Wait()
	}
	return unix.Close(b.fd)
}

// restFor is how long a tree lies in the bin first: whoever removed it is
// answered before its files are deleted.
const restFor = time.Millisecond

// work starts removers for the queue; they end when it is empty, so an idle
// bin costs nothing. The caller holds mu.
func (b *Bin) work() {
	for b.running < removers && b.running < len(b.queue) && !b.closed {
		b.running++
		time.AfterFunc(restFor, b.remove)
	}
}

func (b *Bin) remove() {
	b.mu.Lock()
	for len(b.queue) > 0 && !b.closed {
		name := b.queue[0]
		b.queue = b.queue[1:]
		b.mu.Unlock()
		if err := removeAt(b.fd, name, b.park, 0); err != nil {
			// Left where it is; the next start tries again.
			b.log.Warn("cannot delete what was removed; its disk space is not given back yet", "path", filepath.Join(b.dir, name), "error", err)
		}
		b.mu.Lock()
	}
	if len(b.queue) == 0 {
		b.queue = nil
	}
	b.running--
	b.idle.Broadcast()
	b.mu.Unlock()
}

// park moves a directory that lies too deep to the bin's top level, where it
// is deleted in its turn.
func (b *Bin) park(dirfd int, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	top := strconv.FormatUint(b.next, 10)
	b.next++
	if err := unix.Renameat(dirfd, name, b.fd, top); err != nil {
		return &os.PathError{Op: "rename", Path: name, Err: err}
	}
	b.queue = append(b.queue, top)
	return nil
}
