package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/fault"
)

const (
	// maxJSON bounds a JSON request body. The largest real one, a create
	// request with hundreds of options, stays below 100 KiB.
	maxJSON = 4 << 20
	// bodyTimeout bounds how long a client may take to send a JSON body.
	bodyTimeout = 30 * time.Second
)

// Call is one request on its way through a handler.
type Call struct {
	*http.Request
	W       http.ResponseWriter
	Version Version
	// Name and Name2 are the values of the path's variables.
	Name, Name2 string

	query    url.Values
	hijacked bool
}

// Query returns the first value of a query parameter, or "".
func (c *Call) Query(key string) string { return c.Queries().Get(key) }

// Queries returns all query parameters. Malformed pairs have been refused.
func (c *Call) Queries() url.Values { return c.query }

// Bool returns a boolean query parameter by Docker's rule: absent, empty, 0,
// no, false and none are false, all else is true.
func (c *Call) Bool(key string) bool {
	switch strings.ToLower(strings.TrimSpace(c.Query(key))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// Int returns an optional integer query parameter; nil when it is absent.
func (c *Call) Int(key string) (*int, error) {
	text := c.Query(key)
	if text == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid value %q of parameter %s: want a whole number", text, key)
	}
	return &n, nil
}

// Size returns the terminal size that a resize request asks for.
func (c *Call) Size() (height, width uint32, err error) {
	for _, p := range []struct {
		key, name string
		to        *uint32
	}{{"h", "height", &height}, {"w", "width", &width}} {
		n, err := strconv.ParseUint(c.Query(p.key), 10, 16)
		if err != nil {
			return 0, 0, fault.New(fault.Invalid, "invalid resize %s %q: %w (want a number from 0 to 65535)", p.name, c.Query(p.key), errors.Unwrap(err))
		}
		*p.to = uint32(n)
	}
	return height, width, nil
}

// Filters parses the filters parameter and refuses terms that are not accepted.
func (c *Call) Filters(accepted ...string) (filter.Args, error) {
	f, err := filter.Parse(c.Query("filters"))
	if err != nil {
		return nil, err
	}
	return f, f.Validate(accepted...)
}

// Decode reads a JSON body into v, which keeps its value when the body is
// empty. Every failure is fault.Invalid, but for a body over the limit.
func (c *Call) Decode(v any) error {
	raw, err := c.jsonBody()
	if err != nil || len(raw) == 0 {
		return err
	}
	return decodeJSON(raw, v)
}

// DecodeRequired is Decode for routes that make no sense without a body.
func (c *Call) DecodeRequired(v any) error {
	raw, err := c.jsonBody()
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return fault.New(fault.Invalid, "invalid JSON: got EOF while reading request body")
	}
	return decodeJSON(raw, v)
}

// jsonBody reads the whole body, so that what follows sees either all of it or
// an error, never a part (CVE-2024-41110 was an authorizer that saw none of it).
func (c *Call) jsonBody() ([]byte, error) {
	if c.Body == nil || c.ContentLength == 0 {
		return nil, nil
	}
	if err := wantJSON(c.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	if c.ContentLength > maxJSON {
		return nil, tooLarge()
	}
	rc := http.NewResponseController(c.W)
	// Recorders in tests have no deadlines; on a real connection this cannot fail.
	if rc.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
		defer rc.SetReadDeadline(time.Time{})
	}
	raw, err := io.ReadAll(io.LimitReader(c.Body, maxJSON+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the request body: %w", err)
	}
	if len(raw) > maxJSON {
		return nil, tooLarge()
	}
	return raw, nil
}

func tooLarge() error {
	return fmt.Errorf("%w: a JSON body may have at most %d bytes", errTooLarge, maxJSON)
}

func wantJSON(contentType string) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fault.New(fault.Invalid, "malformed Content-Type header (%s): %w", contentType, err)
	}
	if media != "application/json" {
		return fault.New(fault.Invalid, "unsupported Content-Type header (%s): must be 'application/json'", contentType)
	}
	return nil
}

// decodeJSON decodes exactly one JSON value. encoding/json refuses nesting
// deeper than 10,000 levels itself.
func decodeJSON(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(v); err != nil {
		var wrong *json.UnmarshalTypeError
		switch {
		case errors.As(err, &wrong):
			return fault.New(fault.Invalid, "invalid JSON: %s must be %s, not %s", fieldName(wrong.Field), jsonKind(wrong.Type), wrong.Value)
		case errors.Is(err, io.EOF):
			return fault.New(fault.Invalid, "invalid JSON: got EOF while reading request body")
		}
		return fault.New(fault.Invalid, "invalid JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault.New(fault.Invalid, "unexpected content after JSON")
	}
	return nil
}

func fieldName(path string) string {
	if path == "" {
		return "the body"
	}
	return "field " + path
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number in range"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 in range"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "an object"
}

// buffers holds the scratch space of JSON answers. A list of 1,000 containers
// needs about 1 MB; larger ones are left to the collector.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const keepBuffer = 64 << 10

// JSON writes v as the whole answer.
func (c *Call) JSON(status int, v any) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keepBuffer {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := c.W.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	c.W.WriteHeader(status)
	// A client that went away is no error of the handler.
	_, _ = c.W.Write(buf.Bytes())
	return nil
}

// NoContent answers 204.
func (c *Call) NoContent() error {
	c.W.WriteHeader(http.StatusNoContent)
	return nil
}

// Flush sends what was written so far, the header at least.
func (c *Call) Flush() { _ = http.NewResponseController(c.W).Flush() }
