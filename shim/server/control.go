package server

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/shim/wire"
)

const (
	// maxConns bounds the daemons' connections: one lives, another may be stale.
	maxConns = 16
	// maxUnsent bounds what a daemon that does not read may have outstanding.
	maxUnsent = 256 << 10
	// helloWait is how long a new connection may take to introduce itself, and a
	// daemon to read the last frames at the end.
	helloWait = 5 * time.Second
)

// conn is one daemon's connection.
type conn struct {
	s       *shim
	fd      int
	greeted bool
	since   time.Time

	head    [wire.HeaderSize]byte
	got     int // of the header, then of the payload
	header  wire.Header
	inBody  bool
	payload []byte
	files   []int // descriptors of the current frame

	out    []outFrame
	unsent int
}

// outFrame is an answer that waits; fd goes with its first byte.
type outFrame struct {
	data []byte
	fd   int // -1 = none; closed when sent
}

// acceptor takes new daemons' connections.
type acceptor struct{ s *shim }

func (a acceptor) ready(uint32) {
	fd, _, err := unix.Accept4(a.s.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	// The directory keeps others out already; this holds if it is ever shared.
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid != uint32(os.Geteuid()) || len(a.s.conns) >= maxConns {
		unix.Close(fd)
		return
	}
	a.s.connect(fd)
}

// connect begins to serve a connection.
func (s *shim) connect(fd int) *conn {
	unix.SetNonblock(fd, true)
	c := &conn{s: s, fd: fd, since: s.now}
	s.conns = append(s.conns, c)
	if s.add(fd, unix.EPOLLIN, c) != nil {
		c.close()
	}
	return c
}

func (c *conn) deadline() time.Time {
	if !c.greeted || c.s.phase == phaseDelivered && len(c.out) > 0 {
		return c.since.Add(helloWait)
	}
	return time.Time{}
}

func (c *conn) ready(ev uint32) {
	if ev&unix.EPOLLOUT != 0 {
		c.flush()
	}
	if c.fd >= 0 && ev&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		for c.receive() {
		}
	}
}

// receive takes what has arrived of one frame. It tells whether there may be
// more of it at once. After a whole one it is the others' turn: a daemon that
// always has a further request ready would else keep the loop to itself, and
// clients that have left, and their descriptors, would pile up.
func (c *conn) receive() bool {
	if !c.inBody {
		return c.receiveHeader()
	}
	n, err := readRetry(c.fd, c.payload[c.got:])
	if !c.advance(n, err) {
		return false
	}
	if c.got == len(c.payload) {
		c.frame()
		return false
	}
	return true
}

// receiveHeader reads exactly a header, so that a frame's descriptors always
// come with its first byte and never with that of another.
func (c *conn) receiveHeader() bool {
	n, files, err := c.s.recvFiles(c.fd, c.head[c.got:])
	c.files = append(c.files, files...)
	if !c.advance(n, err) {
		return false
	}
	if c.got < wire.HeaderSize {
		return true
	}
	h, err := wire.ParseHeader(c.head[:], wire.MaxRequest)
	if err != nil || int(h.Files) != len(c.files) {
		c.close()
		return false
	}
	c.header, c.inBody, c.got = h, true, 0
	c.payload = make([]byte, h.Length)
	if h.Length == 0 {
		c.frame()
		return false
	}
	return true
}

// advance handles the result of a read.
func (c *conn) advance(n int, err error) bool {
	if err == unix.EAGAIN {
		return false
	}
	if err != nil || n == 0 {
		c.close()
		return false
	}
	c.got += n
	return true
}

// frame handles a complete frame.
func (c *conn) frame() {
	h, payload, files := c.header, c.payload, c.files
	c.inBody, c.got, c.payload, c.files = false, 0, nil, nil
	c.s.mem.drop(c.s, len(payload)+frameGarbage)
	left := c.handle(h, payload, files)
	closeAll(left)
}

// recvFiles reads into buf and collects descriptors, with close-on-exec.
func (s *shim) recvFiles(fd int, buf []byte) (n int, files []int, err error) {
	oob := &s.oob
	var oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, buf, oob[:], unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil || oobn == 0 {
		return n, nil, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	for i := range msgs {
		if fds, rightsErr := unix.ParseUnixRights(&msgs[i]); rightsErr == nil {
			files = append(files, fds...)
		}
	}
	if err != nil || flags&unix.MSG_CTRUNC != 0 {
		closeAll(files)
		return 0, nil, wire.ErrMalformed
	}
	return n, files, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// answer sends a frame that belongs to a request. fd, if not -1, goes along and
// is closed.
func (c *conn) answer(typ wire.Type, request uint32, p wire.Payload, fd int) {
	files := 0
	if fd >= 0 {
		files = 1
	}
	if c.fd < 0 {
		closeOne(fd)
		return
	}
	f := outFrame{data: wire.Append(nil, typ, request, files, p), fd: fd}
	if c.unsent += len(f.data); c.unsent > maxUnsent {
		closeOne(fd)
		c.close()
		return
	}
	c.out = append(c.out, f)
	c.flush()
}

func closeOne(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

func (c *conn) event(typ wire.Type, p wire.Payload) { c.answer(typ, 0, p, -1) }
func (c *conn) ok(request uint32)                   { c.answer(wire.TypeOK, request, nil, -1) }

func (c *conn) fail(request uint32, code wire.Code, text string) {
	c.answer(wire.TypeError, request, &wire.Error{Code: code, Text: text}, -1)
}

// flush writes what waits.
func (c *conn) flush() {
	for len(c.out) > 0 {
		f := &c.out[0]
		var oob []byte
		if f.fd >= 0 {
			oob = unix.UnixRights(f.fd)
		}
		n, err := unix.SendmsgN(c.fd, f.data, oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			c.s.mod(c.fd, unix.EPOLLIN|unix.EPOLLOUT)
			return
		}
		if err != nil {
			c.close()
			return
		}
		closeOne(f.fd)
		f.fd = -1
		c.unsent -= n
		if f.data = f.data[n:]; len(f.data) == 0 {
			c.out = c.out[1:]
		}
	}
	c.out = nil
	c.s.mod(c.fd, unix.EPOLLIN)
}

// close ends the connection. Nothing of the container depends on it.
func (c *conn) close() {
	if c.fd < 0 {
		return
	}
	c.s.close(c.fd)
	c.fd = -1
	closeAll(c.files)
	for _, f := range c.out {
		closeOne(f.fd)
	}
	c.out, c.files, c.payload = nil, nil, nil
	kept := make([]*conn, 0, len(c.s.conns))
	for _, other := range c.s.conns {
		if other != c {
			kept = append(kept, other)
		}
	}
	c.s.conns = kept
}
