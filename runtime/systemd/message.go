package systemd

import (
	"encoding/binary"
	"errors"
)

// The message types and header fields of the D-Bus specification.
const (
	typeCall   = 1
	typeReply  = 2
	typeError  = 3
	typeSignal = 4

	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldError       = 4
	fieldReply       = 5
	fieldDestination = 6
	fieldSignature   = 8
)

const (
	fixedHeader = 16
	// maxMessage bounds what we read; an answer of ours has some hundred bytes, and
	// the specification allows 128 MiB.
	maxMessage = 1 << 20
)

// encoder builds a message, or the body of one. Alignment counts from its start, so
// a body begins at a multiple of 8.
type encoder struct{ b []byte }

func (e *encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) byte(v byte) { e.b = append(e.b, v) }

func (e *encoder) uint32(v uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, v)
}

func (e *encoder) uint64(v uint64) {
	e.align(8)
	e.b = binary.LittleEndian.AppendUint64(e.b, v)
}

func (e *encoder) bool(v bool) {
	if v {
		e.uint32(1)
	} else {
		e.uint32(0)
	}
}

func (e *encoder) string(s string) {
	e.uint32(uint32(len(s)))
	e.b = append(append(e.b, s...), 0)
}

func (e *encoder) signature(s string) {
	e.b = append(append(append(e.b, byte(len(s))), s...), 0)
}

// array writes elements of an alignment, and their size in bytes before them.
func (e *encoder) array(align int, elements func()) {
	e.uint32(0)
	size := len(e.b) - 4
	e.align(align)
	start := len(e.b)
	elements()
	binary.LittleEndian.PutUint32(e.b[size:], uint32(len(e.b)-start))
}

// field writes a header field: its code, and a variant.
func (e *encoder) field(code byte, kind, value string) {
	e.align(8)
	e.byte(code)
	e.signature(kind)
	if kind == "g" {
		e.signature(value)
	} else {
		e.string(value)
	}
}

// call is a method call.
type call struct {
	destination, path, iface, member string
	signature                        string
	body                             encoder
}

// encode builds the whole message.
func (c *call) encode(serial uint32) []byte {
	e := encoder{b: make([]byte, 0, 256+len(c.body.b))}
	e.b = append(e.b, 'l', typeCall, 0, 1)
	e.uint32(uint32(len(c.body.b)))
	e.uint32(serial)
	e.array(8, func() {
		e.field(fieldPath, "o", c.path)
		if c.destination != "" {
			e.field(fieldDestination, "s", c.destination)
		}
		e.field(fieldInterface, "s", c.iface)
		e.field(fieldMember, "s", c.member)
		if c.signature != "" {
			e.field(fieldSignature, "g", c.signature)
		}
	})
	e.align(8)
	return append(e.b, c.body.b...)
}

// errShort says that a message ends before what it announces.
var errShort = errors.New("a D-Bus message is malformed")

// decoder reads a message. After a mistake err is set and everything reads as zero.
type decoder struct {
	b     []byte
	at    int
	order binary.ByteOrder
	err   error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b)-d.at {
		d.err = errShort
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) align(n int) { d.take((n - d.at%n) % n) }

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	d.align(4)
	if b := d.take(4); b != nil {
		return d.order.Uint32(b)
	}
	return 0
}

func (d *decoder) text(n uint32) string {
	if n >= maxMessage {
		d.err = errShort
		return ""
	}
	s := d.take(int(n))
	d.take(1)
	return string(s)
}

func (d *decoder) string() string    { return d.text(d.uint32()) }
func (d *decoder) signature() string { return d.text(uint32(d.byte())) }

// message is what we understand of an incoming message.
type message struct {
	kind                   byte
	reply                  uint32 // serial of the call that it answers
	iface, member, errName string
	signature              string
	body                   decoder
}

// sizes tells from the fixed part how long header fields (with their padding) and body are.
func sizes(fixed []byte) (fields, body int, err error) {
	d := decoder{b: fixed, order: binary.LittleEndian}
	switch fixed[0] {
	case 'l':
	case 'B':
		d.order = binary.BigEndian
	default:
		return 0, 0, errShort
	}
	d.at = 4
	b := d.uint32()
	d.uint32()
	f := d.uint32()
	if b > maxMessage || f > maxMessage {
		return 0, 0, errors.New("a D-Bus message is too long")
	}
	return int(f+7) &^ 7, int(b), nil
}

// decode reads a whole message.
func decode(raw []byte) (*message, error) {
	if len(raw) < fixedHeader {
		return nil, errShort
	}
	fields, body, err := sizes(raw)
	if err != nil || len(raw) != fixedHeader+fields+body {
		return nil, errShort
	}
	d := decoder{b: raw, at: 12, order: binary.LittleEndian}
	if raw[0] == 'B' {
		d.order = binary.BigEndian
	}
	m := &message{kind: raw[1]}
	end := int(d.uint32()) + fixedHeader
	for d.err == nil && d.at < end {
		d.align(8)
		code := d.byte()
		switch kind := d.signature(); kind {
		case "s", "o", "g":
			text := ""
			if kind == "g" {
				text = d.signature()
			} else {
				text = d.string()
			}
			switch code {
			case fieldInterface:
				m.iface = text
			case fieldMember:
				m.member = text
			case fieldError:
				m.errName = text
			case fieldSignature:
				m.signature = text
			}
		case "u":
			if n := d.uint32(); code == fieldReply {
				m.reply = n
			}
		default:
			d.err = errShort // no header field has another type
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	m.body = decoder{b: raw[fixedHeader+fields:], order: d.order}
	return m, nil
}
