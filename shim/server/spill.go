package server

import (
	"golang.org/x/sys/unix"
)

const (
	// punchStep is how much is consumed before its disk space is given back.
	punchStep = 4 << 20
	spillRead = 64 << 10
)

// spill is the part of a client's queue that lies in a nameless file, so that
// neither the application nor the shim's memory pays for a client that stopped
// reading for a while.
type spill struct {
	s                 *shim
	fd                int
	head, tail, freed int64 // offsets: next to read, next to write, first not given back
}

// newSpill makes a spill file beside the log, or returns nil when that is not
// possible; the client then holds up the application until it is cut off.
func (s *shim) newSpill() *spill {
	if s.spills >= s.limits.spills || s.spillDir == "" {
		return nil
	}
	fd, err := unix.Open(s.spillDir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil
	}
	s.spills++
	return &spill{s: s, fd: fd}
}

// put appends b as a whole, or nothing.
func (sp *spill) put(b []byte) bool {
	n, err := unix.Pwrite(sp.fd, b, sp.tail)
	if err != nil || n < len(b) {
		return false // what was written will be overwritten
	}
	sp.tail += int64(n)
	return true
}

// get appends the next part to dst; nothing when the file holds no more.
func (sp *spill) get(dst []byte) ([]byte, error) {
	size := min(sp.tail-sp.head, spillRead)
	if size == 0 {
		return dst, nil
	}
	start := len(dst)
	dst = append(dst, make([]byte, size)...)
	n, err := unix.Pread(sp.fd, dst[start:], sp.head)
	if err != nil || n <= 0 {
		return nil, unix.EIO
	}
	sp.head += int64(n)
	if sp.head-sp.freed >= punchStep {
		unix.Fallocate(sp.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, sp.freed, sp.head-sp.freed)
		sp.freed = sp.head
	}
	return dst[:start+n], nil
}

func (sp *spill) full() bool { return sp.tail-sp.head >= sp.s.limits.spill }

func (sp *spill) close() {
	unix.Close(sp.fd)
	sp.s.spills--
}
