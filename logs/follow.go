package logs

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pollEvery is the pace without inotify (its instances per user are limited).
	pollEvery = 100 * time.Millisecond
	// checkEvery bounds the wait with inotify, which drops events under load and
	// says nothing on some file systems.
	checkEvery = time.Second
)

// watcher waits for changes in the log's directory, the end of the container or
// of the caller.
type watcher struct {
	ctx   context.Context // of one Read call
	f     *os.File        // nil = poll
	done  <-chan struct{}
	until time.Time
	stop  chan struct{}
}

func newWatcher(ctx context.Context, dir string, done <-chan struct{}, until time.Time) *watcher {
	w := &watcher{ctx: ctx, done: done, until: until, stop: make(chan struct{})}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		unix.Close(fd)
		return w
	}
	w.f = os.NewFile(uintptr(fd), "inotify")
	go func() {
		select {
		case <-done:
		case <-ctx.Done():
		case <-w.stop:
			return
		}
		w.f.SetReadDeadline(time.Unix(1, 0))
	}()
	return w
}

// over tells whether nothing more will be written, or nothing more is wanted.
func (w *watcher) over() bool {
	select {
	case <-w.done:
		return true
	default:
		return !w.until.IsZero() && time.Now().After(w.until)
	}
}

// wait returns when there may be more to read, or with the context's error.
func (w *watcher) wait() error {
	wait := checkEvery
	if w.f == nil {
		wait = pollEvery
	}
	if left := time.Until(w.until); !w.until.IsZero() && left < wait {
		wait = left
	}
	if w.f == nil {
		select {
		case <-w.ctx.Done():
		case <-w.done:
		case <-time.After(wait):
		}
		return w.ctx.Err()
	}
	if w.over() || w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	w.f.SetReadDeadline(time.Now().Add(wait))
	// The deadline just set may have replaced the one that done or ctx set.
	if w.over() || w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	var events [4096]byte
	if _, err := w.f.Read(events[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return w.ctx.Err()
}

func (w *watcher) close() {
	close(w.stop)
	if w.f != nil {
		w.f.Close()
	}
}
