// Package websocket is the server's side of RFC 6455, as far as attaching to a
// container needs it: the handshake, and frames without extensions, read as one
// stream of bytes. Frames of any length are passed on in pieces: what a client
// claims of a length takes no memory.
package websocket

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/sampan-containers/sampan/fault"
)

// The opcodes of section 5.2.
const (
	continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	closing      = 0x8
	ping         = 0x9
	pong         = 0xa
)

const (
	final      = 0x80
	masked     = 0x80
	maxControl = 125 // section 5.5
	// uniqueID is the constant of section 1.3.
	uniqueID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// ErrProtocol is what a client gets wrong after the handshake.
var ErrProtocol = errors.New("the client breaks the WebSocket protocol")

// Accept checks the header of a request (section 4.2.1) and returns the value of
// Sec-WebSocket-Accept. Its errors are fault.Invalid.
func Accept(h http.Header) (string, error) {
	key := h.Get("Sec-Websocket-Key")
	switch {
	case !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade"):
		return "", fault.New(fault.Invalid, "not websocket protocol: the request must have the headers \"Connection: Upgrade\" and \"Upgrade: websocket\"")
	case h.Get("Sec-Websocket-Version") != "13":
		return "", fault.New(fault.Invalid, "not websocket protocol: Sec-WebSocket-Version must be 13")
	}
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 16 {
		return "", fault.New(fault.Invalid, "not websocket protocol: Sec-WebSocket-Key must be 16 bytes in base64")
	}
	sum := sha1.Sum([]byte(key + uniqueID))
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// Conn speaks frames over a connection. Read and Write may be used at the same
// time, each by one goroutine.
type Conn struct {
	in     *bufio.Reader
	left   uint64 // of the frame's payload
	mask   [4]byte
	at     int // place in the mask
	opcode byte

	mu     sync.Mutex
	out    io.Writer
	closed bool // nothing may follow a close frame (section 5.5.1)
}

// New returns a Conn. Write sends frames of the given opcode, Text or Binary.
func New(in io.Reader, out io.Writer, opcode byte) *Conn {
	return &Conn{in: bufio.NewReader(in), out: out, opcode: opcode}
}

// Read returns payload of data frames. It answers pings itself, and returns
// io.EOF after the client's close frame.
func (c *Conn) Read(p []byte) (int, error) {
	for c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if uint64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.in.Read(p)
	for i := range p[:n] {
		p[i] ^= c.mask[c.at&3]
		c.at++
	}
	c.left -= uint64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the header of the next data frame.
func (c *Conn) next() error {
	opcode, err := c.header()
	if err != nil {
		return err
	}
	switch opcode {
	case continuation, Text, Binary:
		return nil
	case closing, ping, pong:
	default:
		return ErrProtocol
	}
	payload := make([]byte, c.left)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return err
	}
	c.left = 0
	for i := range payload {
		payload[i] ^= c.mask[i&3]
	}
	switch opcode {
	case ping:
		return c.frame(pong, payload)
	case closing:
		_ = c.frame(closing, payload[:min(len(payload), 2)]) // the client may be gone
		return io.EOF
	}
	return nil
}

// header reads one, checks it, and sets what is left and the mask.
func (c *Conn) header() (opcode byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c.in, h[:]); err != nil {
		return 0, err
	}
	// A client must mask (section 5.1), and nothing was agreed on that uses a
	// reserved bit.
	if h[0]&0x70 != 0 || h[1]&masked == 0 {
		return 0, ErrProtocol
	}
	opcode, c.left, c.at = h[0]&0x0f, uint64(h[1]&0x7f), 0
	if opcode >= closing && (c.left > maxControl || h[0]&final == 0) {
		return 0, ErrProtocol
	}
	switch c.left {
	case 126:
		var n [2]byte
		if _, err := io.ReadFull(c.in, n[:]); err != nil {
			return 0, err
		}
		c.left = uint64(binary.BigEndian.Uint16(n[:]))
	case 127:
		var n [8]byte
		if _, err := io.ReadFull(c.in, n[:]); err != nil {
			return 0, err
		}
		if c.left = binary.BigEndian.Uint64(n[:]); c.left>>63 != 0 {
			return 0, ErrProtocol
		}
	}
	_, err = io.ReadFull(c.in, c.mask[:])
	return opcode, err
}

// Write sends p as one frame.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.frame(c.opcode, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite sends the frame that ends the stream normally.
func (c *Conn) CloseWrite() error { return c.frame(closing, []byte{0x03, 0xe8}) }

func (c *Conn) frame(opcode byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = opcode == closing
	h := []byte{final | opcode}
	switch n := len(payload); {
	case n < 126:
		h = append(h, byte(n))
	case n <= 0xffff:
		h = binary.BigEndian.AppendUint16(append(h, 126), uint16(n))
	default:
		h = binary.BigEndian.AppendUint64(append(h, 127), uint64(n))
	}
	_, err := c.out.Write(append(h, payload...))
	return err
}
