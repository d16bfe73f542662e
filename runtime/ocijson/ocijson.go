// Package ocijson reads config.json of an OCI bundle into specs.Spec without
// reflection. In a shim, which reads one such file in its life, encoding/json
// would cost 250 kB of type tables that stay, and a millisecond of the start; the
// latter is a tenth of what a short container takes on the command line.
//
// The strings of the result share the input's memory. Of what the OCI specification
// defines for other systems only the presence is kept, for speccheck to refuse;
// unknown members are passed over. Every member for Linux is read, which the test
// holds against encoding/json.
// Input is bounded in depth; malformed input is an error with its offset.
package ocijson

//go:generate go run ./gen

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxDepth bounds the nesting of members that are passed over.
const maxDepth = 1000

// Decode reads one specification. raw must not change afterwards.
func Decode(raw []byte) (*specs.Spec, error) {
	d := &decoder{b: raw}
	spec := &specs.Spec{}
	d.readSpec(spec)
	d.space()
	if d.err == nil && d.i != len(d.b) {
		d.fail("more data behind the document")
	}
	if d.err != nil {
		return nil, d.err
	}
	return spec, nil
}

type decoder struct {
	b     []byte
	i     int
	depth int
	err   error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = errors.New("byte " + strconv.Itoa(d.i) + ": " + what)
	}
	d.i = len(d.b)
}

// space moves to the next byte that is no white space; 0 at the end.
func (d *decoder) space() byte {
	for ; d.i < len(d.b); d.i++ {
		switch c := d.b[d.i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take consumes c if it comes next.
func (d *decoder) take(c byte) bool {
	if d.space() != c {
		return false
	}
	d.i++
	return true
}

func (d *decoder) word(w string) bool {
	if d.space(); len(d.b)-d.i >= len(w) && string(d.b[d.i:d.i+len(w)]) == w {
		d.i += len(w)
		return true
	}
	return false
}

// null consumes a null, which leaves a member as it is.
func (d *decoder) null() bool { return d.space() == 'n' && d.word("null") }

// object calls member for each member; it must consume the value.
func (d *decoder) object(member func(key string)) {
	if d.null() {
		return
	}
	if !d.take('{') {
		d.fail("an object is expected here")
		return
	}
	if d.take('}') {
		return
	}
	for d.err == nil {
		key := d.str()
		if !d.take(':') {
			d.fail("a colon is expected here")
			return
		}
		member(key)
		if d.take(',') {
			continue
		}
		if !d.take('}') {
			d.fail("a comma or the end of an object is expected here")
		}
		return
	}
}

// list calls element for each element.
func (d *decoder) list(element func()) {
	if d.null() {
		return
	}
	if !d.take('[') {
		d.fail("a list is expected here")
		return
	}
	if d.take(']') {
		return
	}
	for d.err == nil {
		element()
		if d.take(',') {
			continue
		}
		if !d.take(']') {
			d.fail("a comma or the end of a list is expected here")
		}
		return
	}
}

func slice[T any](d *decoder, into *[]T, read func(*T)) {
	if d.null() {
		return
	}
	list := make([]T, 0, d.count())
	d.list(func() {
		var v T
		read(&v)
		list = append(list, v)
	})
	*into = list
}

// count is the number of elements of the list that comes next, to make its
// memory at once: growing it by doubling would leave as much behind.
func (d *decoder) count() int {
	n, depth := 1, 0
	for i := d.i; i < len(d.b); i++ {
		switch d.b[i] {
		case ',':
			if depth == 1 {
				n++
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth <= 0 {
				return n
			}
		case '"':
			for i++; i < len(d.b) && d.b[i] != '"'; i++ {
				if d.b[i] == '\\' {
					i++
				}
			}
		}
	}
	return 1 // it does not end, and reading it will say so
}

func pointer[T any](d *decoder, into **T, read func(*T)) {
	if d.null() {
		return
	}
	v := new(T)
	read(v)
	*into = v
}

// present notes that there is a member, without reading it.
func present[T any](d *decoder, into **T) { pointer(d, into, func(*T) { d.skip() }) }

func table[T any](d *decoder, into *map[string]T, read func(*T)) {
	if d.null() {
		return
	}
	if *into == nil {
		*into = map[string]T{}
	}
	d.object(func(key string) {
		var v T
		read(&v)
		(*into)[key] = v
	})
}

func readString[T ~string](d *decoder) func(*T) {
	return func(into *T) {
		if !d.null() {
			*into = T(d.str())
		}
	}
}

func (d *decoder) readBool(into *bool) {
	switch {
	case d.null():
	case d.word("true"):
		*into = true
	case d.word("false"):
		*into = false
	default:
		d.fail("true or false is expected here")
	}
}

func readInt[T ~int | ~int32 | ~int64](d *decoder) func(*T) {
	return func(into *T) {
		if d.null() {
			return
		}
		v, err := strconv.ParseInt(d.number(), 10, int(unsafe.Sizeof(*into))*8)
		if err != nil {
			d.fail("a whole number in range is expected here")
			return
		}
		*into = T(v)
	}
}

func readUint[T ~uint | ~uint16 | ~uint32 | ~uint64](d *decoder) func(*T) {
	return func(into *T) {
		if d.null() {
			return
		}
		v, err := strconv.ParseUint(d.number(), 10, int(unsafe.Sizeof(*into))*8)
		if err != nil {
			d.fail("a whole number in range, not below zero, is expected here")
			return
		}
		*into = T(v)
	}
}

// number returns the text of a number of JSON's grammar; empty if there is none.
func (d *decoder) number() string {
	d.space()
	start := d.i
	d.accept('-')
	if !d.accept('0') && d.digits() == 0 {
		return ""
	}
	if d.accept('.') && d.digits() == 0 {
		return ""
	}
	if d.accept('e') || d.accept('E') {
		if !d.accept('+') {
			d.accept('-')
		}
		if d.digits() == 0 {
			return ""
		}
	}
	return view(d.b[start:d.i])
}

func (d *decoder) accept(c byte) bool {
	if d.i < len(d.b) && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

func (d *decoder) digits() int {
	start := d.i
	for d.i < len(d.b) && d.b[d.i] >= '0' && d.b[d.i] <= '9' {
		d.i++
	}
	return d.i - start
}

// str reads a string. Without escapes it is a view of the input.
func (d *decoder) str() string {
	if !d.take('"') {
		d.fail("a string is expected here")
		return ""
	}
	start := d.i
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c == '"':
			s := d.b[start:d.i]
			d.i++
			if !utf8.Valid(s) {
				return string([]rune(string(s)))
			}
			return view(s)
		case c == '\\':
			return d.escaped(start)
		case c < 0x20:
			d.fail("a control character stands in a string")
			return ""
		}
		d.i++
	}
	d.fail("a string does not end")
	return ""
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// escaped reads the rest of a string that has an escape at d.i.
func (d *decoder) escaped(start int) string {
	out := append([]byte(nil), d.b[start:d.i]...)
	for d.i < len(d.b) {
		c := d.b[d.i]
		d.i++
		switch {
		case c == '"':
			return string([]rune(string(out)))
		case c < 0x20:
			d.fail("a control character stands in a string")
			return ""
		case c != '\\':
			out = append(out, c)
			continue
		}
		if d.i == len(d.b) {
			break
		}
		c = d.b[d.i]
		d.i++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			out = utf8.AppendRune(out, d.unicode())
		default:
			d.fail("an unknown escape stands in a string")
			return ""
		}
	}
	d.fail("a string does not end")
	return ""
}

// unicode reads the digits of \u, and a second half of a surrogate pair.
func (d *decoder) unicode() rune {
	r := d.hex4()
	if !utf16.IsSurrogate(r) {
		return r
	}
	mark := d.i
	if len(d.b)-d.i >= 6 && d.b[d.i] == '\\' && d.b[d.i+1] == 'u' {
		d.i += 2
		if pair := utf16.DecodeRune(r, d.hex4()); pair != utf8.RuneError {
			return pair
		}
		if d.err == nil {
			d.i = mark
		}
	}
	return utf8.RuneError
}

func (d *decoder) hex4() rune {
	if len(d.b)-d.i < 4 {
		d.fail("four hexadecimal digits are expected here")
		return 0
	}
	v, err := strconv.ParseUint(view(d.b[d.i:d.i+4]), 16, 16)
	if err != nil {
		d.fail("four hexadecimal digits are expected here")
		return 0
	}
	d.i += 4
	return rune(v)
}

// skip passes over any value.
func (d *decoder) skip() {
	if d.depth++; d.depth > maxDepth {
		d.fail("the document is nested too deep")
		return
	}
	defer func() { d.depth-- }()
	switch c := d.space(); {
	case c == '{':
		d.object(func(string) { d.skip() })
	case c == '[':
		d.list(d.skip)
	case c == '"':
		d.str()
	case c == '-' || c >= '0' && c <= '9':
		if d.number() == "" {
			d.fail("a number is expected here")
		}
	case d.word("true"), d.word("false"), d.word("null"):
	default:
		d.fail("a value is expected here")
	}
}
