// Package http1 is the client's side of HTTP/1.1 (RFC 9112) as the Engine API
// uses it: one request and one answer at a time on a connection that the caller
// made. It has no redirects, cookies, proxies or compression.
//
// Package net/http would do, but it links TLS, and the two make every command
// start a third of a millisecond later than it could (see package tlspipe).
//
// What comes from the daemon is bounded: a head may have MaxHead bytes. Bodies
// are streams; who reads one bounds it.
package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// MaxHead bounds the status line and headers of an answer.
const MaxHead = 1 << 20

// Methods.
const (
	Get    = "GET"
	Head   = "HEAD"
	Post   = "POST"
	Put    = "PUT"
	Delete = "DELETE"
)

// Status codes that are looked at.
const (
	SwitchingProtocols = 101
	OK                 = 200
	NotModified        = 304
	BadRequest         = 400
	Unauthorized       = 401
	Forbidden          = 403
	NotFound           = 404
	Conflict           = 409
	PreconditionFailed = 412
	TooManyRequests    = 429
	InternalError      = 500
	NotImplemented     = 501
	Unavailable        = 503
)

// Header holds fields by their canonical names.
type Header map[string][]string

// Get returns the first value of a field, or "".
func (h Header) Get(name string) string {
	if list := h[textproto.CanonicalMIMEHeaderKey(name)]; len(list) > 0 {
		return list[0]
	}
	return ""
}

// Values returns all values of a field.
func (h Header) Values(name string) []string { return h[textproto.CanonicalMIMEHeaderKey(name)] }

// Set replaces a field.
func (h Header) Set(name, value string) {
	h[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
}

// has tells whether a comma-separated field names a token.
func (h Header) has(name, token string) bool {
	for _, value := range h.Values(name) {
		for one := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(one), token) {
				return true
			}
		}
	}
	return false
}

// Request is what a client sends.
type Request struct {
	Method string
	Host   string
	Target string // path and query, escaped
	Header Header
	// Body is sent as it is when it is not nil; otherwise Stream is, if that is not
	// nil, in chunks. Only a request without Stream can be sent again.
	Body   []byte
	Stream io.Reader
	// Late makes the body once the head is sent, so that the daemon can prepare for
	// it meanwhile. It is nil or called in place of the other two.
	Late func() ([]byte, error)
}

var lineBreaks = strings.NewReplacer("\r", "", "\n", "")

// head is the request up to its body.
func (r *Request) head() []byte {
	b := make([]byte, 0, 512)
	b = append(b, r.Method+" "+lineBreaks.Replace(r.Target)+" HTTP/1.1\r\nHost: "+lineBreaks.Replace(r.Host)+"\r\n"...)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			b = append(b, lineBreaks.Replace(name)+": "+lineBreaks.Replace(value)+"\r\n"...)
		}
	}
	switch {
	case r.Late != nil || r.Body == nil && r.Stream != nil:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case len(r.Body) > 0 || r.Method == Post || r.Method == Put:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// Write sends the request in as few writes as there can be.
func (r *Request) Write(w io.Writer) error {
	if r.Late != nil {
		return r.writeLate(w)
	}
	if r.Body != nil || r.Stream == nil {
		_, err := w.Write(append(r.head(), r.Body...))
		return err
	}
	if _, err := w.Write(r.head()); err != nil {
		return err
	}
	// A chunk is read to where it is sent from: its length goes right before it.
	const chunk, room, end = 128 << 10, 16, "\r\n"
	buf := make([]byte, room+chunk+len(end))
	size := make([]byte, 0, room)
	for {
		n, err := r.Stream.Read(buf[room : room+chunk])
		if n > 0 {
			size = append(strconv.AppendInt(size[:0], int64(n), 16), end...)
			start := room - len(size)
			copy(buf[start:], size)
			copy(buf[room+n:], end)
			if _, err := w.Write(buf[start : room+n+len(end)]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			_, err = io.WriteString(w, "0\r\n\r\n")
			return err
		}
		if err != nil {
			return fmt.Errorf("read what is to be sent: %w", err)
		}
	}
}

func (r *Request) writeLate(w io.Writer) error {
	if _, err := w.Write(r.head()); err != nil {
		return err
	}
	body, err := r.Late()
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	b := append(strconv.AppendInt(make([]byte, 0, len(body)+32), int64(len(body)), 16), "\r\n"...)
	b = append(b, body...)
	_, err = w.Write(append(b, lastChunk...))
	return err
}

// Response is what the daemon answers.
type Response struct {
	Code   int
	Status string // code and reason: "404 Not Found"
	Header Header
	// Body ends with io.EOF; closing it does not close the connection.
	Body io.Reader
	// Close tells that the connection cannot carry another request.
	Close bool
	// Empty tells that the body has no content.
	Empty bool
}

// ErrMalformed is an answer that is no HTTP.
var ErrMalformed = errors.New("malformed HTTP answer")

// ReadResponse reads the head of the answer to a request with this method, and
// passes over those that come before it (1xx).
func ReadResponse(r *bufio.Reader, method string) (*Response, error) {
	for {
		resp, err := readHead(r)
		if err != nil {
			return nil, err
		}
		if resp.Code >= 200 || resp.Code == SwitchingProtocols {
			return resp, resp.frame(r, method)
		}
	}
}

func readHead(r *bufio.Reader) (*Response, error) {
	left := MaxHead
	line, err := readLine(r, &left)
	if err != nil {
		return nil, err
	}
	proto, status, _ := strings.Cut(line, " ")
	digits, _, _ := strings.Cut(status, " ")
	code, err := strconv.Atoi(digits)
	if err != nil || len(digits) != len("200") || code < 100 || proto != "HTTP/1.1" && proto != "HTTP/1.0" {
		return nil, fmt.Errorf("%w: it begins with %.40q", ErrMalformed, line)
	}
	resp := &Response{Code: code, Status: status, Header: Header{}, Close: proto == "HTTP/1.0"}
	for {
		if line, err = readLine(r, &left); err != nil {
			return nil, err
		}
		if line == "" {
			return resp, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("%w: %.40q is no header", ErrMalformed, line)
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		resp.Header[name] = append(resp.Header[name], strings.Trim(value, " \t"))
	}
}

// readLine reads a line without its end, and counts it off the budget.
func readLine(r *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return "", fmt.Errorf("%w: its head has more than %d bytes", ErrMalformed, MaxHead)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

// frame finds the end of the body (RFC 9112 section 6.3).
func (resp *Response) frame(r *bufio.Reader, method string) error {
	if resp.Header.has("Connection", "close") {
		resp.Close = true
	}
	length := resp.Header.Values("Content-Length")
	switch {
	case resp.Code == SwitchingProtocols:
		resp.Body, resp.Close = r, true
	case method == Head || resp.Code == 204 || resp.Code == NotModified:
		resp.Body, resp.Empty = strings.NewReader(""), true
	case resp.Header.has("Transfer-Encoding", "chunked"):
		resp.Body = &chunks{r: r}
	case len(length) > 0:
		n, err := strconv.ParseInt(length[0], 10, 64)
		if err != nil || n < 0 || slices.ContainsFunc(length, func(s string) bool { return s != length[0] }) {
			return fmt.Errorf("%w: its Content-Length is %.40q", ErrMalformed, length)
		}
		resp.Body, resp.Empty = &sized{r: r, left: n}, n == 0
	default:
		resp.Body, resp.Close = r, true
	}
	return nil
}

// sized is a body whose length is known.
type sized struct {
	r    io.Reader
	left int64
}

func (s *sized) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.r.Read(p)
	if s.left -= int64(n); errors.Is(err, io.EOF) && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunks is a body in chunks (RFC 9112 section 7.1).
type chunks struct {
	r    *bufio.Reader
	left uint64 // of the current chunk
	open bool   // its end is still to be read
	err  error
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	if uint64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	if c.left -= uint64(n); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if c.err = err; n > 0 {
		// Who has the last byte should learn of the end without another read, if
		// that is here already.
		if c.left == 0 && err == nil && c.r.Buffered() >= len(lastChunk) {
			if end, _ := c.r.Peek(len(lastChunk)); string(end) == lastChunk {
				c.err = c.next()
			}
		}
		return n, nil
	}
	return n, err
}

// lastChunk ends a chunk and the body, without a trailer.
const lastChunk = "\r\n0\r\n\r\n"

// next reads the end of a chunk and the size of the one that follows.
func (c *chunks) next() error {
	left := MaxHead
	if c.open {
		line, err := readLine(c.r, &left)
		if err == nil && line != "" {
			err = malformedChunk(line)
		}
		if err != nil {
			return err
		}
	}
	line, err := readLine(c.r, &left)
	if err != nil {
		return err
	}
	digits, _, _ := strings.Cut(line, ";")
	if c.left, err = strconv.ParseUint(strings.TrimSpace(digits), 16, 63); err != nil {
		return malformedChunk(line)
	}
	if c.open = c.left > 0; c.open {
		return nil
	}
	for { // the trailer
		if line, err = readLine(c.r, &left); err != nil {
			return err
		}
		if line == "" {
			return io.EOF
		}
	}
}

func malformedChunk(line string) error {
	return fmt.Errorf("%w: %.40q is no chunk", ErrMalformed, line)
}
