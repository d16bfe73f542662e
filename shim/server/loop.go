package server

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// handler gets the events of its descriptor.
type handler interface{ ready(events uint32) }

// slot is what the loop knows of one descriptor. The generation tells a stale
// event, fetched before the descriptor was closed and its number used again.
type slot struct {
	h   handler
	gen int32
}

// loop is the event loop. Only post may be called from another goroutine.
type loop struct {
	epfd  int
	slots []slot
	now   time.Time // when the current round began

	mu     sync.Mutex
	posted []func()
	wake   int // eventfd
}

const wakeData = -1

func (l *loop) init() error {
	var err error
	if l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	l.now = time.Now()
	return unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeData})
}

// add begins to watch fd.
func (l *loop) add(fd int, events uint32, h handler) error {
	for fd >= len(l.slots) {
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[fd]
	s.h = h
	s.gen++
	return unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: s.gen})
}

// mod changes the events of a watched descriptor.
func (l *loop) mod(fd int, events uint32) {
	unix.EpollCtl(l.epfd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: l.slots[fd].gen})
}

// del ends the watch. It must come before close: another process may hold the
// same open file, and epoll would go on reporting it.
func (l *loop) del(fd int) {
	if fd < len(l.slots) && l.slots[fd].h != nil {
		unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil)
		l.slots[fd].h = nil
		l.slots[fd].gen++
	}
}

// close ends the watch and closes fd.
func (l *loop) close(fd int) {
	l.del(fd)
	unix.Close(fd)
}

// post runs f in the loop.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	one := [8]byte{0: 1}
	unix.Write(l.wake, one[:])
}

// round waits for events, at most timeout (< 0: without limit), and handles
// them. It tells whether there were any.
func (l *loop) round(timeout time.Duration) bool {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	var events [16]unix.EpollEvent
	n, err := unix.EpollWait(l.epfd, events[:], ms)
	l.now = time.Now()
	if err != nil || n <= 0 {
		return false
	}
	for i := range events[:n] {
		ev := &events[i]
		if ev.Fd == wakeData {
			l.runPosted()
			continue
		}
		if s := &l.slots[ev.Fd]; s.h != nil && s.gen == ev.Pad {
			s.h.ready(ev.Events)
		}
	}
	return true
}

// yield lets a goroutine that was just started run first. A shim has one
// processor: the wait for events would keep it until the scheduler's monitor
// notices, up to 10 ms later.
func (l *loop) yield() { runtime.Gosched() }

func (l *loop) runPosted() {
	var count [8]byte
	unix.Read(l.wake, count[:])
	l.mu.Lock()
	work := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range work {
		f()
	}
}

// readRetry and writeRetry are the system calls without EINTR.
func readRetry(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func writeRetry(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Write(fd, p)
		if err != unix.EINTR {
			return n, err
		}
	}
}
