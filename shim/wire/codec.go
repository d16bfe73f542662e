package wire

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed reports bytes that are no valid frame or field.
var ErrMalformed = errors.New("malformed frame")

// Encoder appends tagged fields: tag byte, length as uvarint, bytes. Zero values
// are left out.
type Encoder struct{ buf []byte }

// Bytes returns what was encoded.
func (e *Encoder) Bytes() []byte { return e.buf }

// Raw appends a byte field, even an empty one (a list element).
func (e *Encoder) Raw(tag uint8, b []byte) {
	e.buf = append(e.buf, tag)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(b)))
	e.buf = append(e.buf, b...)
}

// Text appends a string field, even an empty one (a list element).
func (e *Encoder) Text(tag uint8, s string) {
	e.buf = append(e.buf, tag)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
}

// String appends a string unless it is empty.
func (e *Encoder) String(tag uint8, s string) {
	if s != "" {
		e.Text(tag, s)
	}
}

// Strings appends each element as its own field, in order.
func (e *Encoder) Strings(tag uint8, list []string) {
	for _, s := range list {
		e.Text(tag, s)
	}
}

// Uint appends a number unless it is zero.
func (e *Encoder) Uint(tag uint8, v uint64) {
	if v == 0 {
		return
	}
	var tmp [binary.MaxVarintLen64]byte
	e.Raw(tag, tmp[:binary.PutUvarint(tmp[:], v)])
}

// Int appends a signed number unless it is zero.
func (e *Encoder) Int(tag uint8, v int64) { e.Uint(tag, uint64(v)<<1^uint64(v>>63)) }

// Bool appends a flag if it is set.
func (e *Encoder) Bool(tag uint8, v bool) {
	if v {
		e.Uint(tag, 1)
	}
}

// Message appends a nested message written by f.
func (e *Encoder) Message(tag uint8, f func(*Encoder)) {
	var inner Encoder
	f(&inner)
	e.Raw(tag, inner.buf)
}

// Decoder walks over the fields of one message. The values it returns share the
// input's memory, except strings.
type Decoder struct {
	buf []byte
	tag uint8
	val []byte
	err error
}

// NewDecoder reads the fields of b.
func NewDecoder(b []byte) *Decoder { return &Decoder{buf: b} }

// Next moves to the next field and tells whether there is one.
func (d *Decoder) Next() bool {
	if d.err != nil || len(d.buf) == 0 {
		return false
	}
	d.tag = d.buf[0]
	n, w := binary.Uvarint(d.buf[1:])
	if w <= 0 || n > uint64(len(d.buf)-1-w) {
		d.err = ErrMalformed
		return false
	}
	rest := d.buf[1+w:]
	d.val, d.buf = rest[:n:n], rest[n:]
	return true
}

// Tag is the current field's tag.
func (d *Decoder) Tag() uint8 { return d.tag }

// Err is the first error met.
func (d *Decoder) Err() error { return d.err }

// Raw is the current field's bytes.
func (d *Decoder) Raw() []byte { return d.val }

// String is the current field as a string.
func (d *Decoder) String() string { return string(d.val) }

// Uint is the current field as a number.
func (d *Decoder) Uint() uint64 {
	v, w := binary.Uvarint(d.val)
	if w <= 0 || w != len(d.val) {
		d.err = ErrMalformed
		return 0
	}
	return v
}

// Uint32 is the current field as a number of at most 32 bits.
func (d *Decoder) Uint32() uint32 {
	v := d.Uint()
	if v > 1<<32-1 {
		d.err = ErrMalformed
		return 0
	}
	return uint32(v)
}

// Uint16 is the current field as a number of at most 16 bits.
func (d *Decoder) Uint16() uint16 {
	v := d.Uint()
	if v > 1<<16-1 {
		d.err = ErrMalformed
		return 0
	}
	return uint16(v)
}

// Int is the current field as a signed number.
func (d *Decoder) Int() int64 {
	v := d.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// Bool is the current field as a flag.
func (d *Decoder) Bool() bool { return d.Uint() != 0 }
