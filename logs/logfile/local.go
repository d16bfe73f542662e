package logfile

import (
	"encoding/binary"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// The local format is that of Docker's driver of this name. An entry is
//
//	length (4 bytes, big endian) | LogEntry in protocol buffers | length again
//
// so that a file can be read from both ends. The fields are the stream, the time in
// nanoseconds since 1970, the text without its newline, and whether the line goes on
// in the next entry. Ours have one more, which other readers pass over: the attributes.
const (
	tagSource  = 1<<3 | 2
	tagTime    = 2 << 3
	tagLine    = 3<<3 | 2
	tagPartial = 4 << 3
	tagAttr    = 16<<3 | 2 // a message of key and value for each
	tagKey     = 1<<3 | 2
	tagValue   = 2<<3 | 2

	// LengthSize is what each of an entry's two lengths takes.
	LengthSize = 4
	// MaxEntry bounds an entry in either format: the text, each byte as six in
	// json-file, and attributes.
	MaxEntry = 1 << 20
)

func localHead(stream string) string {
	return string(appendField(nil, tagSource, stream))
}

func appendField(b []byte, tag uint64, text string) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendUvarint(b, tagTime)
	return binary.AppendUvarint(b, uint64(t.UnixNano()))
}

// appendLocal appends one entry; tail holds the attributes and the time.
func appendLocal(b []byte, head string, tail, text []byte, partial bool) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = append(b, head...)
	b = append(b, tail...)
	b = binary.AppendUvarint(b, tagLine)
	b = binary.AppendUvarint(b, uint64(len(text)))
	b = append(b, text...)
	if partial {
		b = append(b, tagPartial, 1)
	}
	n := uint32(len(b) - start - LengthSize)
	binary.BigEndian.PutUint32(b[start:], n)
	return binary.BigEndian.AppendUint32(b, n)
}

func localAttrs(attrs map[string]string) []byte {
	keys := make([]string, 0, len(attrs))
	for k := range attrs {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b []byte
	for _, k := range keys {
		pair := appendField(appendField(nil, tagKey, k), tagValue, attrs[k])
		b = appendField(b, tagAttr, string(pair))
	}
	return b
}

// endsWhole tells whether the last entry of a file is whole.
func endsWhole(fd int, size int64) bool {
	n, ok := length(fd, size-LengthSize)
	if !ok || n > size-2*LengthSize {
		return false
	}
	first, ok := length(fd, size-2*LengthSize-n)
	return ok && first == n
}

// wholeSize is the size of the whole entries at a file's beginning.
func wholeSize(fd int, size int64) (at int64) {
	for {
		n, ok := length(fd, at)
		if !ok || n > size-at-2*LengthSize {
			return at
		}
		if again, ok := length(fd, at+LengthSize+n); !ok || again != n {
			return at
		}
		at += n + 2*LengthSize
	}
}

func length(fd int, at int64) (n int64, ok bool) {
	var b [LengthSize]byte
	if at < 0 {
		return 0, false
	}
	if got, err := unix.Pread(fd, b[:], at); err != nil || got != len(b) {
		return 0, false
	}
	n = int64(binary.BigEndian.Uint32(b[:]))
	return n, n > 0 && n <= MaxEntry
}

// Local is an entry of the local format, as it was read.
type Local struct {
	Stream, Text []byte
	Time         int64 // nanoseconds since 1970
	Partial      bool
	Attrs        map[string]string
}

// ParseLocal reads what lies between an entry's two lengths. The slices of the
// result are parts of b.
func ParseLocal(b []byte) (e Local, ok bool) {
	for len(b) > 0 {
		tag, value, raw, rest, ok := nextField(b)
		if !ok {
			return e, false
		}
		b = rest
		switch tag {
		case tagSource:
			e.Stream = raw
		case tagTime:
			e.Time = int64(value)
		case tagLine:
			e.Text = raw
		case tagPartial:
			e.Partial = value != 0
		case tagAttr:
			k, v, ok := pair(raw)
			if !ok {
				return e, false
			}
			if e.Attrs == nil {
				e.Attrs = map[string]string{}
			}
			e.Attrs[k] = v
		}
	}
	return e, true
}

func pair(b []byte) (key, value string, ok bool) {
	for len(b) > 0 {
		tag, _, raw, rest, ok := nextField(b)
		if !ok {
			return "", "", false
		}
		b = rest
		switch tag {
		case tagKey:
			key = string(raw)
		case tagValue:
			value = string(raw)
		}
	}
	return key, value, true
}

// nextField reads one field: a number, or bytes that a length precedes.
func nextField(b []byte) (tag, value uint64, raw, rest []byte, ok bool) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, nil, nil, false
	}
	b = b[n:]
	switch tag & 7 {
	case 0:
		value, n = binary.Uvarint(b)
		if n <= 0 {
			return 0, 0, nil, nil, false
		}
		return tag, value, nil, b[n:], true
	case 2:
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return 0, 0, nil, nil, false
		}
		return tag, 0, b[n : n+int(size)], b[n+int(size):], true
	}
	return 0, 0, nil, nil, false
}
