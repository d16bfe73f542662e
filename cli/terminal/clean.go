package terminal

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Clean replaces every byte that a terminal would act upon by a visible
// escape: C0 except newline and tab, DEL, C1 (also as a bare 8-bit byte) and
// the Unicode characters that change the direction of text.
func Clean(s string) string {
	dirty := false
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if unsafeRune(r, n) {
			dirty = true
			break
		}
		i += n
	}
	if !dirty {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case !unsafeRune(r, n):
			b.WriteString(s[i : i+n])
		case n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

func unsafeRune(r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size == 1: // not UTF-8: an 8-bit C1 on some terminals
		return true
	case r == '\n' || r == '\t':
		return false
	case r < 0x20 || r >= 0x7f && r < 0xa0:
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
		return true
	}
	return false
}

// cleaner cleans what passes; an incomplete character waits for its rest.
type cleaner struct {
	w    io.Writer
	tail []byte
}

func (c *cleaner) Write(p []byte) (int, error) {
	data := append(c.tail, p...)
	c.tail = nil
	if cut := incomplete(data); cut > 0 {
		c.tail = append(c.tail, data[len(data)-cut:]...)
		data = data[:len(data)-cut]
	}
	if _, err := io.WriteString(c.w, Clean(string(data))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// incomplete counts the bytes at the end that begin a character but do not
// finish it.
func incomplete(b []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		tail := b[len(b)-back:]
		if utf8.RuneStart(tail[0]) {
			if tail[0] >= utf8.RuneSelf && !utf8.FullRune(tail) {
				return back
			}
			return 0
		}
	}
	return 0
}

// CleanDeep cleans every string that v, a pointer, leads to. Lists use it
// before they are formatted, so that escapes in the user's own --format stay.
func CleanDeep(v any) { cleanValue(reflect.ValueOf(v)) }

func cleanValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			cleanValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			cleanValue(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			cleanValue(v.Index(i))
		}
	case reflect.Map:
		cleanMap(v)
	case reflect.String:
		if v.CanSet() {
			v.SetString(Clean(v.String()))
		}
	}
}

// cleanMap replaces the entries of a map whose key or value changes.
func cleanMap(m reflect.Value) {
	if m.IsNil() || !m.CanInterface() {
		return
	}
	for _, key := range m.MapKeys() {
		newKey := reflect.New(key.Type()).Elem()
		newKey.Set(key)
		cleanValue(newKey)
		newVal := reflect.New(m.Type().Elem()).Elem()
		newVal.Set(m.MapIndex(key))
		cleanValue(newVal)
		m.SetMapIndex(key, reflect.Value{})
		m.SetMapIndex(newKey, newVal)
	}
}
