// Package netlink is a small netlink client for the paths where a container's
// start waits: it sends several requests in one system call and reads all the
// answers, takes a socket opened in any network namespace, and names links by
// name inside the request, so that no look-up goes before it. It knows the
// rtnetlink requests that Sampan sends (links, addresses, routes) and carries
// the batches that network/firewall builds for nf_tables.
//
// The numbers and layouts are those of rtnetlink(7), linux/if_link.h,
// linux/if_addr.h and linux/rtnetlink.h.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// replySize holds any single answer; the kernel cuts dumps into parts of at
	// most this size.
	replySize = 16 << 10
	// plainSend is what the kernel's default send buffer takes for sure; for
	// more the buffer is widened to maxSend.
	plainSend, maxSend = 64 << 10, 16 << 20
	// answerSeconds bounds the wait for an answer, so that a lost one is an error.
	answerSeconds = 10
)

// Conn is one rtnetlink (or other netlink) socket, used by one caller at a time.
type Conn struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	buf []byte
}

// Open opens a NETLINK_ROUTE socket in the calling thread's network namespace.
// A socket stays in the namespace it was opened in.
func Open() (*Conn, error) { return OpenFamily(unix.NETLINK_ROUTE) }

// OpenFamily opens a socket of another netlink family.
func OpenFamily(family int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	for _, step := range []func() error{
		func() error { return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) },
		func() error {
			return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerSeconds})
		},
		// An error answer then carries the header only, not the whole request.
		func() error { return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) },
		func() error { return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1) },
	} {
		if err := step(); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("set up a netlink socket: %w", err)
		}
	}
	return &Conn{fd: fd}, nil
}

// Close closes the socket.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// Do sends all requests in one system call; the kernel works them off in order
// and does not stop at a failure. The error is the first one, with the name of
// its request.
func (c *Conn) Do(reqs ...*Request) error {
	errs, err := c.DoEach(reqs...)
	if err != nil {
		return err
	}
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

// DoEach is Do with one result per request.
func (c *Conn) DoEach(reqs ...*Request) ([]error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []byte
	first := c.seq + 1
	for _, r := range reqs {
		c.seq++
		out = append(out, r.bytes(unix.NLM_F_REQUEST|unix.NLM_F_ACK, c.seq)...)
	}
	if err := c.send(out); err != nil {
		return nil, err
	}
	results := make([]error, len(reqs))
	for answered := 0; answered < len(reqs); {
		err := c.receive(func(h unix.NlMsghdr, body []byte) error {
			i := int(h.Seq - first)
			if i < 0 || i >= len(reqs) || h.Type != unix.NLMSG_ERROR {
				return nil
			}
			answered++
			results[i] = answerError(reqs[i].what, h, body)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// Batch sends the requests between begin and end as one transaction of
// nfnetlink: all take effect, or none. Only the last is acknowledged; the kernel
// reports failures before it, in order.
func (c *Conn) Batch(begin, end *Request, reqs ...*Request) error {
	if len(reqs) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.seq + 1
	out := begin.bytes(unix.NLM_F_REQUEST, first)
	for i, r := range reqs {
		flags := uint16(unix.NLM_F_REQUEST)
		if i == len(reqs)-1 {
			flags |= unix.NLM_F_ACK
		}
		out = append(out, r.bytes(flags, first+1+uint32(i))...)
	}
	last := first + uint32(len(reqs))
	c.seq = last + 1
	out = append(out, end.bytes(unix.NLM_F_REQUEST, c.seq)...)
	if err := c.send(out); err != nil {
		return err
	}
	var failed error
	for done := false; !done; {
		err := c.receive(func(h unix.NlMsghdr, body []byte) error {
			if h.Type != unix.NLMSG_ERROR || h.Seq < first || h.Seq > last+1 {
				return nil
			}
			r := begin
			if i := int(h.Seq - first); i >= 1 && i <= len(reqs) {
				r = reqs[i-1]
			}
			if err := answerError(r.what, h, body); err != nil && failed == nil {
				failed = err
			}
			// A refused begin is the only answer of its batch.
			done = done || h.Seq == last || h.Seq == first
			return nil
		})
		if err != nil {
			return err
		}
	}
	return failed
}

// Dump sends a dump request and calls f with the body of each answer.
func (c *Conn) Dump(r *Request, f func(body []byte) error) error {
	return c.query(r, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, f)
}

// Get sends a request for one object and calls f with the answer's body.
func (c *Conn) Get(r *Request, f func(body []byte) error) error {
	return c.query(r, unix.NLM_F_REQUEST|unix.NLM_F_ACK, f)
}

func (c *Conn) query(r *Request, flags uint16, f func(body []byte) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	if err := c.send(r.bytes(flags, c.seq)); err != nil {
		return err
	}
	var failed error
	for done := false; !done; {
		err := c.receive(func(h unix.NlMsghdr, body []byte) error {
			switch {
			case h.Seq != c.seq:
			case h.Type == unix.NLMSG_DONE:
				done = true
			case h.Type == unix.NLMSG_ERROR:
				done = true
				failed = answerError(r.what, h, body)
			case failed == nil:
				failed = f(body)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return failed
}

func (c *Conn) send(b []byte) error {
	if c.fd < 0 {
		return os.ErrClosed
	}
	if len(b) > plainSend {
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, maxSend); err != nil {
			return fmt.Errorf("widen a netlink socket's send buffer: %w", err)
		}
	}
	if err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to the kernel's network configuration: %w", err)
	}
	return nil
}

// receive reads one datagram and calls f for each message in it.
func (c *Conn) receive(f func(h unix.NlMsghdr, body []byte) error) error {
	if c.buf == nil {
		c.buf = make([]byte, replySize)
	}
	n, from, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_TRUNC)
	for errors.Is(err, unix.EINTR) {
		n, from, err = unix.Recvfrom(c.fd, c.buf, unix.MSG_TRUNC)
	}
	if err != nil {
		return fmt.Errorf("read the answer of the kernel's network configuration: %w", err)
	}
	if n > len(c.buf) {
		return fmt.Errorf("the kernel's netlink answer is too long (%d bytes)", n)
	}
	if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
		return nil // not from the kernel
	}
	for b := c.buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
		h := unix.NlMsghdr{
			Len: binary.NativeEndian.Uint32(b), Type: binary.NativeEndian.Uint16(b[4:]),
			Flags: binary.NativeEndian.Uint16(b[6:]), Seq: binary.NativeEndian.Uint32(b[8:]),
		}
		if int(h.Len) < unix.NLMSG_HDRLEN || int(h.Len) > len(b) {
			return errors.New("the kernel's netlink answer is cut off")
		}
		if err := f(h, b[unix.NLMSG_HDRLEN:h.Len]); err != nil {
			return err
		}
		b = b[min(align(int(h.Len)), len(b)):]
	}
	return nil
}

// answerError turns an NLMSG_ERROR into an error with the kernel's own
// explanation (extended ack), nil for a plain acknowledgement.
func answerError(what string, h unix.NlMsghdr, body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("%s: the kernel's answer is cut off", what)
	}
	errno := -int32(binary.NativeEndian.Uint32(body))
	if errno == 0 {
		return nil
	}
	if h.Flags&unix.NLM_F_ACK_TLVS != 0 && len(body) > 4+unix.NLMSG_HDRLEN {
		for t, v := range Attrs(body[4+unix.NLMSG_HDRLEN:]) {
			if t == unix.NLMSGERR_ATTR_MSG {
				return fmt.Errorf("%s: %w (%s)", what, unix.Errno(errno), cString(v))
			}
		}
	}
	return fmt.Errorf("%s: %w", what, unix.Errno(errno))
}
