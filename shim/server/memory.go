package server

import (
	"bytes"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tidyAfter is how long nothing must have happened before memory is given back.
	tidyAfter = time.Second
	// usedMuch is from where on a buffer is worth giving back.
	usedMuch = 16 << 10
	// garbageMuch is from where on a collection is worth its time once it is quiet,
	// garbageLimit from where on it happens at once. The collector never runs by
	// itself (GOGC=off, see handle): it would every two minutes, in every shim.
	garbageMuch  = 384 << 10
	garbageLimit = 2 << 20
	// startGarbage is roughly what a start leaves: the specification's text, the
	// list of system calls, the seccomp program's making.
	startGarbage = 200 << 10
	// frameGarbage is roughly what a request leaves besides its payload.
	frameGarbage = 1 << 10
)

// memory keeps the shim small: what a start, an exec or a burst of output needed
// goes back to the kernel once it is quiet.
type memory struct {
	garbage int // bytes of the heap that are free by now, roughly
	high    int // most of the read buffer used since it was given back
	at      time.Time
	off     bool

	unmapped bool // see dropProgram
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
	m.drop(s, startGarbage)
	m.at = s.now.Add(tidyAfter)
	s.oom.Lower()
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
		m.collect()
	}
	if !m.unmapped {
		m.unmapped = true
		dropProgram()
	}
}

// dropProgram unmaps the pages of the binary that only the start needed. They
// stay in the memfd that all shims share; what runs again is faulted in again.
func dropProgram() {
	fd, err := unix.Open("/proc/self/maps", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var buf [1024]byte // the binary's segments come first
	n, err := readRetry(fd, buf[:])
	if err != nil {
		return
	}
	for line := range bytes.Lines(buf[:n]) {
		// 00400000-0057c000 r-xp …: never the writable ones, whose pages are ours
		f := bytes.Fields(line)
		if len(f) < 6 || f[1][1] != '-' || !bytes.Contains(f[5], []byte("sampan-runtime")) {
			continue
		}
		from, to, _ := strings.Cut(string(f[0]), "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && start < end {
			unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
		}
	}
}

func (m *memory) collect() {
	m.garbage = 0
	debug.FreeOSMemory()
}

// drop notes that about n bytes of the heap are not needed any more.
func (m *memory) drop(s *shim, n int) {
	switch m.garbage += n; {
	case m.garbage > garbageLimit:
		m.collect()
	case m.garbage > garbageMuch:
		m.at = s.now.Add(tidyAfter)
	}
}

// stop ends the care: the process is about to exit.
func (m *memory) stop() { m.off = true }
