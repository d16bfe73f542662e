package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The media types of hijacked and log streams.
const (
	RawStream         = "application/vnd.docker.raw-stream"
	MultiplexedStream = "application/vnd.docker.multiplexed-stream"
)

// multiplexedSince is the version that first named multiplexed streams.
var multiplexedSince = V(1, 42)

// StreamType returns the media type of a container's stream for this client.
func (c *Call) StreamType(tty bool) string {
	if !tty && c.Version >= multiplexedSince {
		return MultiplexedStream
	}
	return RawStream
}

// Hijacking takes the client's connection away from HTTP and hands its
// descriptor on. It serves one call: Take at most once, then Finish.
type Hijacking struct {
	c *Call
	// Headers makes the answer carry the common headers too: exec does, attach
	// does not, and clients were written against both.
	Headers bool
	// ErrorFrame makes Finish put an error into a frame of its own kind.
	ErrorFrame bool
	conn       net.Conn
	tty        bool
	pumped     bool
	frames     *frames       // of a WebSocket
	settled    chan struct{} // closed by Finish; a pump must not close conn before
}

// Hijack prepares a call for being hijacked.
func (c *Call) Hijack() *Hijacking { return &Hijacking{c: c} }

// Take writes the header of the answer and returns a descriptor of the
// connection, which the caller owns, and the bytes that the client had sent
// ahead. Its signature is the Hijack of the container service.
func (h *Hijacking) Take(tty bool) (*os.File, []byte, error) {
	common := h.c.W.Header().Clone()
	conn, rw, err := http.NewResponseController(h.c.W).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	h.c.hijacked, h.conn, h.tty, h.settled = true, conn, tty, make(chan struct{})
	ahead, err := io.ReadAll(io.LimitReader(rw.Reader, int64(rw.Reader.Buffered())))
	if err != nil {
		return nil, nil, fmt.Errorf("read what the client sent ahead: %w", err)
	}
	if _, err := conn.Write(h.header(common)); err != nil {
		return nil, nil, fmt.Errorf("write the header of a stream: %w", err)
	}
	if h.frames != nil {
		h.pumped = true
		file, err := h.frames.descriptor(conn, ahead, tty, h.settled)
		return file, nil, err
	}
	file, err := h.descriptor()
	if err != nil {
		return nil, nil, err
	}
	return file, ahead, nil
}

// header is, byte for byte, what Docker sends.
func (h *Hijacking) header(common http.Header) []byte {
	if h.frames != nil {
		return h.frames.header()
	}
	var b bytes.Buffer
	if _, upgrade := h.c.Request.Header["Upgrade"]; upgrade {
		fmt.Fprintf(&b, "HTTP/1.1 101 UPGRADED\r\nContent-Type: %s\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", h.c.StreamType(h.tty))
	} else {
		fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n", RawStream)
	}
	if h.Headers {
		common.Del("Content-Type")
		_ = common.Write(&b) // a buffer takes everything
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// Finish ends the call after the service returned err. Without an error the
// daemon only closes its own descriptor: the stream goes on in the shim. An
// error after Take can no longer get a status, so its text goes where the
// client shows it. Before Take, err is returned for the status table.
func (h *Hijacking) Finish(err error) error {
	if h.conn == nil {
		return err
	}
	if err != nil {
		h.tell(fmt.Appendf(nil, "%v\r\n", err))
	}
	if !h.pumped {
		_ = h.conn.Close()
	}
	h.conn = nil
	close(h.settled)
	return nil
}

// tell writes a text into the stream; the client may be gone.
func (h *Hijacking) tell(text []byte) {
	switch {
	case h.frames != nil && h.frames.conn != nil:
		_, _ = h.frames.conn.Write(text)
	case h.frames != nil:
	case h.ErrorFrame:
		_, _ = h.conn.Write(appendFrame(nil, SystemErr, bytes.TrimSuffix(text, []byte("\r\n"))))
	case h.tty:
		_, _ = h.conn.Write(text)
	default:
		_, _ = h.conn.Write(appendFrame(nil, Stdout, text))
	}
}

// Refuse answers an attach that failed before Take the way Docker does: by hand,
// as plain text.
func (h *Hijacking) Refuse(err error) error {
	if err == nil || h.conn != nil || h.c.hijacked {
		return h.Finish(err)
	}
	conn, _, hijackErr := http.NewResponseController(h.c.W).Hijack()
	if hijackErr != nil {
		return err
	}
	h.c.hijacked = true
	status := StatusOf(err)
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n\r\n%v\r\n", status, http.StatusText(status), RawStream, err)
	linger(conn)
	return nil
}

// linger closes a connection after an answer. What the client has sent and
// nobody has read would make the kernel reset it, and take the answer away.
func linger(conn net.Conn) {
	const most, wait = 1 << 20, time.Second
	if c, ok := conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		_, _ = io.CopyN(io.Discard, conn, most)
	}
	_ = conn.Close()
}

// descriptor returns a descriptor for the connection that another process can
// serve. A TLS connection has its keys in this process, so that it gets a socket
// pair with a pump, and ends with the daemon.
func (h *Hijacking) descriptor() (*os.File, error) {
	if f, ok := h.conn.(interface{ File() (*os.File, error) }); ok {
		file, err := f.File()
		if err != nil {
			return nil, fmt.Errorf("duplicate the connection's descriptor: %w", err)
		}
		return file, nil
	}
	local, far, err := localPair()
	if err != nil {
		return nil, fmt.Errorf("make a socket pair for a TLS connection: %w", err)
	}
	h.pumped = true
	go pump(h.conn, local, h.settled)
	return far, nil
}

// localPair returns a connection and a descriptor of its other end.
func localPair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	near, far := os.NewFile(uintptr(pair[0]), "stream"), os.NewFile(uintptr(pair[1]), "stream")
	local, err := net.FileConn(near)
	near.Close()
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return local.(*net.UnixConn), far, nil
}

// pump copies both ways until the shim closes its side, passing half-closes on,
// so that the end of a client's stdin does not cut the output off. It then
// closes both, once settled says that the daemon writes no more to the client.
func pump(client net.Conn, local *net.UnixConn, settled <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(local, client)
		_ = local.CloseWrite()
	}()
	_, _ = io.Copy(client, local)
	<-settled
	if c, ok := client.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	// Nothing the client still sends has a reader.
	_ = client.Close()
	<-done
	_ = local.Close()
}
