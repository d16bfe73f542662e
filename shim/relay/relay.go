// Package relay copies one direction of a connection from socket to socket, inside
// the kernel, for the ports of a container that no rule can translate. It waits
// for nothing: its user asks the kernel when there is something to move.
package relay

import "golang.org/x/sys/unix"

// pipeSize is what one splice may move: the pipes' capacity. Four times the kernel's
// default carries 1.4 times as much, and costs a pipe 2 KiB of kernel memory.
const pipeSize = 256 << 10

// Way is one direction. The bytes go through a pipe. The zero value must be
// opened first.
type Way struct {
	pipe  [2]int
	open  bool
	held  int  // bytes in the pipe
	ended bool // the source has ended
	done  bool // and the target knows
}

// Open makes the pipe.
func (w *Way) Open() error {
	err := unix.Pipe2(w.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK)
	if w.open = err == nil; w.open {
		// Refused where the user has too many pipes: then a splice moves less.
		_, _ = unix.FcntlInt(uintptr(w.pipe[1]), unix.F_SETPIPE_SZ, pipeSize)
	}
	return err
}

// Close closes the pipe, if there is one.
func (w *Way) Close() {
	if w.open {
		unix.Close(w.pipe[0])
		unix.Close(w.pipe[1])
		w.open = false
	}
}

// Hungry tells whether the source should be watched, Holds whether bytes wait for
// the target, Done whether this direction is over.
func (w *Way) Hungry() bool { return !w.ended && w.held == 0 }
func (w *Way) Holds() bool  { return w.held > 0 }
func (w *Way) Done() bool   { return w.done }

// Pump moves what can be moved from one socket to the other; false = the
// connection broke.
func (w *Way) Pump(from, to int) bool {
	for !w.done {
		moved := 0
		if !w.ended && w.held < pipeSize {
			n, err := splice(from, w.pipe[1], pipeSize-w.held)
			switch {
			case err == unix.EAGAIN:
			case err != nil:
				return false
			case n == 0:
				w.ended = true
			default:
				w.held += n
				moved = n
			}
		}
		if w.held > 0 {
			n, err := splice(w.pipe[0], to, w.held)
			if err != nil && err != unix.EAGAIN {
				return false
			}
			if err == nil {
				w.held -= n
				moved += n
			}
		}
		if w.ended && w.held == 0 {
			unix.Shutdown(to, unix.SHUT_WR)
			w.done = true
		}
		if moved == 0 {
			break
		}
	}
	return true
}

// splice moves at most n bytes inside the kernel.
func splice(from, to, n int) (int, error) {
	for {
		m, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(m), err
		}
	}
}
