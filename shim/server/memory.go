package server

import (
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tidyAfter is how long nothing must have happened before memory is given back.
	tidyAfter = time.Second
	// usedMuch is from where on a buffer is worth giving back.
	usedMuch = 16 << 10
	// gcPercent makes the first collection come at 1 MB of heap. Most shims never
	// have one, which saves the collector's own memory, 200 kB.
	gcPercent = 25
	// garbageMuch is from where on a collection gives back more than that.
	garbageMuch = 512 << 10
)

// memory keeps the shim small: what a start, an exec or a burst of output needed
// goes back to the kernel once it is quiet.
type memory struct {
	garbage int // bytes of the heap that are free by now, roughly
	high    int // most of the read buffer used since it was given back
	at      time.Time
	off     bool
}

// used notes that n bytes of the read buffer were filled.
func (s *shim) used(n int) {
	if n > s.mem.high {
		s.mem.high = n
	}
	if n > usedMuch {
		s.mem.at = s.now.Add(tidyAfter)
	}
}

// started is called once the container runs.
func (m *memory) started(s *shim) {
	debug.SetGCPercent(gcPercent)
	m.at = s.now.Add(tidyAfter)
	s.oom.lower()
	// The container cannot reach us anyway; this keeps other users' debuggers out
	// and core dumps, which would hold the container's output, away.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

func (m *memory) deadline() time.Time {
	if m.off {
		return time.Time{}
	}
	return m.at
}

// tidy gives memory back when the deadline has passed.
func (m *memory) tidy(s *shim) {
	if m.off || m.at.IsZero() || s.now.Before(m.at) {
		return
	}
	m.at = time.Time{}
	if m.high > usedMuch {
		if s.log != nil {
			s.log.Release(s.init.logStreams()...)
		}
		unix.Madvise(s.buffers, unix.MADV_DONTNEED)
	}
	m.high = 0
	if m.garbage > garbageMuch {
		m.garbage = 0
		debug.FreeOSMemory()
	}
}

// drop notes that about n bytes of the heap are not needed any more.
func (m *memory) drop(s *shim, n int) {
	if m.garbage += n; m.garbage > garbageMuch {
		m.at = s.now.Add(tidyAfter)
	}
}

// stop ends the care: the process is about to exit.
func (m *memory) stop() { m.off = true }
