package compact

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
)

// Compactor compresses the old files of the logs it watches. The zero value is
// not usable, call New. It costs nothing until the first Watch.
type Compactor struct {
	log *slog.Logger

	mu     sync.Mutex
	f      *os.File         // inotify
	byID   map[int32]string // watch to log
	byPath map[string]int32
	queue  []string // logs to look at
	wake   chan struct{}
	closed bool
	work   sync.WaitGroup
}

// New returns a compactor that watches nothing.
func New(log *slog.Logger) *Compactor {
	return &Compactor{log: log, byID: map[int32]string{}, byPath: map[string]int32{}, wake: make(chan struct{}, 1)}
}

// Watch compresses the old files of the log at path as they come. With scan it
// looks for those that are there already.
func (c *Compactor) Watch(path string, scan bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if err := c.watch(path); err != nil {
		// Its files are compressed at the end of the run, or by the next daemon.
		c.log.Warn("watch the log of a container for rotations", "log", path, "error", err)
	}
	if scan {
		c.enqueue(path)
	}
}

// Finish compresses what is left of the log at path and watches it no more.
func (c *Compactor) Finish(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := c.byPath[path]; ok {
		delete(c.byPath, path)
		delete(c.byID, id)
		if raw, err := c.f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(id)) })
		}
	}
	if !c.closed && c.begin() == nil {
		c.enqueue(path)
	}
}

// Close ends the watching and waits for the file that is being written.
func (c *Compactor) Close() {
	c.mu.Lock()
	c.closed = true
	c.queue = nil
	f := c.f
	c.mu.Unlock()
	if f == nil {
		return
	}
	f.Close()
	c.nudge()
	c.work.Wait()
}

// watch adds the directory; the lock is held.
func (c *Compactor) watch(path string) error {
	if err := c.begin(); err != nil {
		return err
	}
	raw, err := c.f.SyscallConn()
	if err != nil {
		return err
	}
	var id int
	if ctlErr := raw.Control(func(fd uintptr) {
		id, err = unix.InotifyAddWatch(int(fd), filepath.Dir(path), unix.IN_MOVED_TO|unix.IN_ONLYDIR)
	}); ctlErr != nil {
		return ctlErr
	}
	if err != nil {
		return err
	}
	c.byID[int32(id)], c.byPath[path] = path, int32(id)
	return nil
}

// begin starts the two goroutines at the first use; the lock is held.
func (c *Compactor) begin() error {
	if c.f != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	c.f = os.NewFile(uintptr(fd), "inotify")
	c.work.Go(c.listen)
	c.work.Go(c.compressAll)
	return nil
}

// enqueue asks for a look at a log; the lock is held.
func (c *Compactor) enqueue(path string) {
	if !slices.Contains(c.queue, path) {
		c.queue = append(c.queue, path)
	}
	c.nudge()
}

func (c *Compactor) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// listen turns inotify's events into work.
func (c *Compactor) listen() {
	var b [4096]byte
	for {
		n, err := c.f.Read(b[:])
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				c.log.Error("watch the logs of containers", "error", err)
			}
			return
		}
		for e := b[:n]; len(e) >= unix.SizeofInotifyEvent; {
			id := int32(binary.NativeEndian.Uint32(e))
			mask := binary.NativeEndian.Uint32(e[4:])
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(e[12:]))
			if size > len(e) {
				break
			}
			name := strings.TrimRight(string(e[unix.SizeofInotifyEvent:size]), "\x00")
			e = e[size:]
			c.changed(id, mask, name)
		}
	}
}

func (c *Compactor) changed(id int32, mask uint32, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		for path := range c.byPath {
			c.enqueue(path)
		}
	case mask&unix.IN_IGNORED != 0: // the directory has gone
		if path, ok := c.byID[id]; ok {
			delete(c.byID, id)
			delete(c.byPath, path)
		}
	case !strings.HasSuffix(name, logfile.Compressed):
		if path, ok := c.byID[id]; ok {
			c.enqueue(path)
		}
	}
}

// compressAll is the worker.
func (c *Compactor) compressAll() {
	for range c.wake {
		for {
			c.mu.Lock()
			if len(c.queue) == 0 {
				over := c.closed
				c.mu.Unlock()
				if over {
					return
				}
				break
			}
			path := c.queue[0]
			c.queue = c.queue[1:]
			c.mu.Unlock()
			if err := compressOne(path); err != nil {
				c.log.Warn("compress an old file of a container's log", "log", path, "error", fmt.Errorf("%s: %w", path, err))
			}
		}
	}
}

// compressOne compresses all old files of a log.
func compressOne(path string) error {
	numbers, err := waiting(path)
	if err != nil {
		return err
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	for _, n := range numbers {
		if err := compress(path, n); err != nil {
			return err
		}
	}
	return nil
}
