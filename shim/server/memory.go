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
	// gcPercent lets the heap of a shim, a few hundred kilobytes, grow to about
	// 1 MB between two collections.
	gcPercent = 25
)

// memory keeps the shim small: what a start, an exec or a burst of output needed
// goes back to the kernel once it is quiet.
type memory struct {
	touched bool // something allocated
	high    int  // most of the read buffer used since it was given back
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
	m.touched = true
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
	if m.touched && m.at.IsZero() {
		return time.Now().Add(tidyAfter)
	}
	return m.at
}

// tidy gives memory back when the deadline has passed.
func (m *memory) tidy(s *shim) {
	if m.off || m.at.IsZero() && !m.touched || s.now.Before(m.at) {
		return
	}
	m.at = time.Time{}
	if m.high > usedMuch {
		unix.Madvise(s.buf, unix.MADV_DONTNEED)
	}
	if s.log != nil && m.high > usedMuch {
		s.log.Release(s.init.logStreams()...)
		m.touched = true
	}
	m.high = 0
	if m.touched {
		m.touched = false
		debug.FreeOSMemory()
	}
}

// stop ends the care: the process is about to exit.
func (m *memory) stop() { m.off = true }
