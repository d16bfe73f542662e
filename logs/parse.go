package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"
)

var errEntry = errors.New("not a log entry")

// parse reads one line of a log file. The text is appended to scratch, which is
// returned for the next call. What does not look as our writer's entries do goes
// through encoding/json.
func parse(b, scratch []byte) (Entry, []byte, error) {
	e, line, ok := parseOwn(b, scratch)
	if ok {
		return e, line, nil
	}
	var m struct {
		Log    string            `json:"log"`
		Stream string            `json:"stream"`
		Attrs  map[string]string `json:"attrs"`
		Time   time.Time         `json:"time"`
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Stream == "" {
		return Entry{}, scratch, errEntry
	}
	line = append(scratch[:0], m.Log...)
	return Entry{Stream: m.Stream, Time: m.Time, Line: line, Attrs: m.Attrs}, line, nil
}

func parseOwn(b, scratch []byte) (e Entry, line []byte, ok bool) {
	b = bytes.TrimSuffix(b, []byte("\n"))
	if b, ok = bytes.CutPrefix(b, []byte(`{"log":"`)); !ok {
		return e, scratch, false
	}
	if line, b, ok = unescape(scratch[:0], b); !ok {
		return e, scratch, false
	}
	e.Line = line
	if b, ok = bytes.CutPrefix(b, []byte(`,"stream":"`)); !ok {
		return e, line, false
	}
	i := bytes.IndexByte(b, '"')
	if i < 0 {
		return e, line, false
	}
	switch string(b[:i]) {
	case "stdout":
		e.Stream = "stdout"
	case "stderr":
		e.Stream = "stderr"
	default:
		return e, line, false
	}
	b = b[i+1:]
	// The time is last, so attributes are whatever lies before it.
	i = bytes.LastIndex(b, []byte(`,"time":"`))
	if i < 0 {
		return e, line, false
	}
	if attrs, found := bytes.CutPrefix(b[:i], []byte(`,"attrs":`)); found {
		if json.Unmarshal(attrs, &e.Attrs) != nil {
			return e, line, false
		}
	} else if i != 0 {
		return e, line, false
	}
	stamp, found := bytes.CutSuffix(b[i+len(`,"time":"`):], []byte(`"}`))
	if !found {
		return e, line, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(stamp))
	e.Time = t
	return e, line, err == nil
}

// unescape appends the JSON string that b is inside of, up to its closing quote,
// and returns what follows that.
func unescape(dst, b []byte) (text, rest []byte, ok bool) {
	for {
		i := bytes.IndexAny(b, `"\`)
		if i < 0 {
			return dst, b, false
		}
		dst = append(dst, b[:i]...)
		if b[i] == '"' {
			return dst, b[i+1:], true
		}
		b = b[i+1:]
		if len(b) == 0 {
			return dst, b, false
		}
		c := b[0]
		b = b[1:]
		switch c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u':
			r, valid := hex4(b)
			if !valid || r >= 0xd800 && r < 0xe000 {
				return dst, b, false // surrogates: encoding/json knows them
			}
			dst, b = utf8.AppendRune(dst, r), b[4:]
		default:
			return dst, b, false
		}
	}
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
