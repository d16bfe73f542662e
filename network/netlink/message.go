package netlink

import (
	"bytes"
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// Request is one netlink message being built. what names it in errors, e.g.
// "create the link veth12 on sampan0".
type Request struct {
	what  string
	typ   uint16
	flags uint16
	body  []byte
}

// NewRequest starts a message of a type with extra header flags.
func NewRequest(what string, typ, flags uint16) *Request {
	return &Request{what: what, typ: typ, flags: flags}
}

// Raw appends bytes as they are, padded.
func (r *Request) Raw(b []byte) *Request {
	r.body = append(r.body, b...)
	r.pad()
	return r
}

// Bytes appends an attribute.
func (r *Request) Bytes(typ uint16, v []byte) *Request {
	r.body = binary.NativeEndian.AppendUint16(r.body, uint16(unix.SizeofRtAttr+len(v)))
	r.body = binary.NativeEndian.AppendUint16(r.body, typ)
	return r.Raw(v)
}

// String appends a NUL-terminated string attribute.
func (r *Request) String(typ uint16, v string) *Request { return r.Bytes(typ, append([]byte(v), 0)) }

// Uint8 appends a one-byte attribute.
func (r *Request) Uint8(typ uint16, v uint8) *Request { return r.Bytes(typ, []byte{v}) }

// Uint32 appends an integer attribute in host order.
func (r *Request) Uint32(typ uint16, v uint32) *Request {
	return r.Bytes(typ, binary.NativeEndian.AppendUint32(nil, v))
}

// BigUint32 appends an integer attribute in network order, as nf_tables wants.
func (r *Request) BigUint32(typ uint16, v uint32) *Request {
	return r.Bytes(typ, binary.BigEndian.AppendUint32(nil, v))
}

// BigUint64 appends an integer attribute in network order.
func (r *Request) BigUint64(typ uint16, v uint64) *Request {
	return r.Bytes(typ, binary.BigEndian.AppendUint64(nil, v))
}

// Nest appends an attribute whose contents f appends.
func (r *Request) Nest(typ uint16, f func(*Request)) *Request {
	start := len(r.body)
	r.body = append(r.body, 0, 0, 0, 0)
	f(r)
	binary.NativeEndian.PutUint16(r.body[start:], uint16(len(r.body)-start))
	binary.NativeEndian.PutUint16(r.body[start+2:], typ)
	return r
}

func (r *Request) pad() {
	for len(r.body)%unix.NLMSG_ALIGNTO != 0 {
		r.body = append(r.body, 0)
	}
}

func (r *Request) bytes(flags uint16, seq uint32) []byte {
	b := make([]byte, 0, unix.NLMSG_HDRLEN+len(r.body))
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+len(r.body)))
	b = binary.NativeEndian.AppendUint16(b, r.typ)
	b = binary.NativeEndian.AppendUint16(b, flags|r.flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, r.body...)
}

// Attrs walks the attributes in b; a malformed rest ends it.
func Attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n := int(binary.NativeEndian.Uint16(b))
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if n < unix.SizeofRtAttr || n > len(b) || !yield(typ, b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
