package server

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/shim/detach"
	"github.com/sampan-containers/sampan/shim/wire"
)

// limits of the patience with clients.
type limits struct {
	// spillAfter is how long the application waits for a client that makes no
	// progress before the client's share goes to disk instead.
	spillAfter time.Duration
	// stall is how long a client may make no progress while the disk share is used
	// up, or after the process has ended, before it is cut off.
	stall time.Duration
	// spill bounds what one client may be behind on disk, spills how many may be.
	spill  int64
	spills int
}

// defaultLimits is what users get; tests have less patience.
func defaultLimits() limits {
	return limits{spillAfter: 100 * time.Millisecond, stall: 10 * time.Second, spill: 128 << 20, spills: 2}
}

const (
	// linger is how long a client may take to close its side at the end. Closing
	// with unread input would make the kernel reset the connection, and the client
	// report an error.
	linger = time.Second
	// maxClients bounds the clients of one shim.
	maxClients = 256
)

// client is an attached connection: output goes to it, input comes from it.
type client struct {
	p  *proc
	fd int

	stdin, stdout, stderr, mux bool
	end                        bool // gets the exit code in a last frame
	keys                       detach.Finder

	pend     []byte // to be written next
	store    []byte // pend's memory
	spill    *spill // what comes after pend, or nil
	held     []byte // what comes after that: the disk had no room
	noSpill  bool   // the disk refused
	progress time.Time

	events    uint32 // watched
	unwatched bool   // out of the loop after a hang-up, with input left to read
	inEOF     bool
	ending    bool      // close once everything is written
	lingers   time.Time // when to close at the latest; zero = not closing yet
	gone      bool
}

// attach adds a client to the process. It takes over fd.
func (p *proc) attach(fd int, a *wire.Attach) *client {
	unix.SetNonblock(fd, true)
	c := &client{p: p, fd: fd, stdout: a.Stdout, stderr: a.Stderr, mux: a.Mux, end: a.End && a.Mux, progress: p.s.now}
	c.stdin = a.Stdin && p.in != nil
	if p.tty {
		c.keys.Keys = append([]byte(nil), a.DetachKeys...)
	}
	p.clients = append(p.clients, c)
	if c.stdin && !p.in.closed {
		c.events = unix.EPOLLIN
	}
	if p.s.add(fd, c.events, c) != nil {
		c.close() // not a socket
		return c
	}
	if c.stdin && len(a.Initial) > 0 {
		c.input(a.Initial)
	}
	if !c.gone && c.stdin && len(p.in.pend) > 0 {
		c.watchInput(false)
	}
	return c
}

func (c *client) wants(stream byte) bool {
	// A client that is being let go gets what it has been promised, no more.
	if c.gone || c.ending {
		return false
	}
	return stream == 1 && c.stdout || stream == 2 && c.stderr
}

// ready handles the connection's events.
func (c *client) ready(ev uint32) {
	if ev&unix.EPOLLOUT != 0 {
		c.writable()
	}
	if c.gone {
		return
	}
	switch {
	case ev&unix.EPOLLIN != 0:
		c.readable()
	case ev&(unix.EPOLLHUP|unix.EPOLLERR) == 0:
	case c.stdin && !c.inEOF && c.lingers.IsZero() && c.events&unix.EPOLLIN == 0:
		// What it sent before it left is still to be read, once the process takes
		// more. Until then the hang-up must not be reported again and again.
		c.p.s.del(c.fd)
		c.unwatched = true
		c.mute()
	default:
		c.lost()
	}
}

// mute gives up a client's output and keeps its input.
func (c *client) mute() {
	c.stdout, c.stderr = false, false
	c.pend, c.store, c.held = nil, nil, nil
	c.closeSpill()
	c.watch(c.events &^ unix.EPOLLOUT)
	c.p.flow()
}

// broken handles a failed write: the client takes no more output, but may have
// sent input before.
func (c *client) broken() {
	if !c.stdin || c.inEOF || c.ending {
		c.lost()
		return
	}
	c.mute()
}

// send writes b to the client, or queues it.
func (c *client) send(b []byte) {
	if c.gone {
		return
	}
	if len(c.pend) == 0 {
		n, err := writeRetry(c.fd, b)
		if err != nil && err != unix.EAGAIN {
			c.broken()
			return
		}
		if n = max(n, 0); n == len(b) {
			return
		}
		c.store = append(c.store[:0], b[n:]...)
		c.pend, c.progress = c.store, c.p.s.now
		c.watch(c.events | unix.EPOLLOUT)
		return
	}
	switch {
	case c.spill == nil:
		c.pend = append(c.pend, b...)
		c.store = c.pend
	case len(c.held) > 0 || !c.spill.put(b):
		c.held = append(c.held, b...)
	}
}

// blocked tells whether the application has to wait for this client.
func (c *client) blocked() bool {
	switch {
	case c.gone || c.ending:
		return false
	case len(c.held) > 0:
		return true
	case c.spill != nil:
		return c.spill.full()
	}
	return len(c.pend) > 0
}

// writable continues the queue.
func (c *client) writable() {
	for len(c.pend) > 0 {
		n, err := writeRetry(c.fd, c.pend)
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			c.broken()
			return
		}
		c.progress = c.p.s.now
		c.pend = c.pend[n:]
		if len(c.pend) == 0 {
			c.refill()
		}
	}
	if c.gone {
		return
	}
	c.watch(c.events &^ unix.EPOLLOUT)
	if c.ending {
		c.finish()
		return
	}
	c.p.flow()
}

// refill makes the next part of the queue the one to be written.
func (c *client) refill() {
	if c.spill != nil {
		part, err := c.spill.get(c.store[:0])
		if err != nil {
			c.lost() // a gap in the stream would be worse than its end
			return
		}
		if c.store = part; len(part) > 0 {
			c.pend = part
			c.p.flow()
			return
		}
		c.closeSpill()
	}
	if len(c.held) > 0 {
		c.store, c.held = append(c.store[:0], c.held...), nil
		c.pend = c.store
	}
}

func (c *client) closeSpill() {
	if c.spill != nil {
		c.spill.close()
		c.spill, c.noSpill = nil, false
	}
}

// readable takes input from the client.
func (c *client) readable() {
	s := c.p.s
	buf := s.buf[dataOffset:]
	n, err := readRetry(c.fd, buf)
	switch {
	case err == unix.EAGAIN:
	case err != nil:
		c.lost()
	case n == 0:
		c.endOfInput()
	case !c.lingers.IsZero() || c.ending:
		// At the end input is only thrown away.
	default:
		s.used(n)
		c.input(buf[:n])
	}
}

func (c *client) input(data []byte) {
	if len(c.keys.Keys) == 0 {
		c.p.in.write(data)
		return
	}
	out, detached := c.keys.Feed(nil, data)
	c.p.in.write(out)
	if detached {
		c.finish()
	}
}

// endOfInput follows the client's half-close. Docker ends the process's input
// with that of the first client if it was asked to (StdinOnce) and there is no
// terminal; otherwise the client is let go.
func (c *client) endOfInput() {
	c.inEOF = true
	c.watch(c.events &^ unix.EPOLLIN)
	switch {
	case !c.lingers.IsZero():
		c.close()
	case c.p.stdinOnce && !c.p.tty:
		c.p.in.end()
	default:
		c.p.in.write(c.keys.Flush(nil))
		c.finish()
	}
}

// lost handles a connection that broke.
func (c *client) lost() {
	if c.stdin && !c.inEOF && c.p.stdinOnce && !c.p.tty && !c.ending {
		c.p.in.end()
	}
	c.close()
}

// finish closes the connection once everything is delivered: first our side,
// then, when the client has closed its own or has had time to, all of it.
func (c *client) finish() {
	if c.gone || !c.lingers.IsZero() {
		return
	}
	if !c.ending {
		c.ending = true
		c.progress = c.p.s.now
		c.p.flow()
	}
	if len(c.pend) > 0 {
		return
	}
	if !c.end { // whose stream ends when the daemon has closed the connection too
		unix.Shutdown(c.fd, unix.SHUT_WR)
	}
	if !c.stdin || c.inEOF {
		c.close()
		return
	}
	c.lingers = c.p.s.now.Add(linger)
	c.watch(unix.EPOLLIN)
}

func (c *client) close() {
	if c.gone {
		return
	}
	c.gone = true
	c.p.s.close(c.fd)
	c.closeSpill()
	c.pend, c.store, c.held = nil, nil, nil
	c.p.remove(c)
}

func (c *client) watchInput(on bool) {
	if !c.stdin || c.inEOF || c.gone || !c.lingers.IsZero() {
		return
	}
	if on {
		c.watch(c.events | unix.EPOLLIN)
	} else {
		c.watch(c.events &^ unix.EPOLLIN)
	}
}

func (c *client) watch(events uint32) {
	if events == c.events {
		return
	}
	c.events = events
	if !c.unwatched {
		c.p.s.mod(c.fd, events)
	} else if events != 0 {
		c.unwatched = false
		c.p.s.add(c.fd, events, c)
	}
}

// deadline is when the client must be looked at; zero = never.
func (c *client) deadline() time.Time {
	switch {
	case !c.lingers.IsZero():
		return c.lingers
	case len(c.pend) == 0:
		return time.Time{}
	case c.ending:
		return c.progress.Add(c.p.s.limits.stall)
	case c.spill == nil && !c.noSpill:
		return c.progress.Add(c.p.s.limits.spillAfter)
	case c.blocked():
		return c.progress.Add(c.p.s.limits.stall)
	}
	return time.Time{}
}

// overdue is called at the deadline.
func (c *client) overdue() {
	switch {
	case !c.lingers.IsZero():
		c.close()
	case c.spill == nil && !c.noSpill && !c.ending:
		if c.spill = c.p.s.newSpill(); c.spill == nil {
			c.noSpill = true
		}
		c.p.flow()
	default:
		c.lost()
	}
}
