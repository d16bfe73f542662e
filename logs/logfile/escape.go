package logfile

import (
	"bytes"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// plain tells whether a byte stands for itself in a JSON string of Docker's: not
// control, quote, backslash, nor what browsers might take as markup.
func plain(b byte) bool {
	return b >= 0x20 && b < utf8.RuneSelf && b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
}

// AppendEscaped appends p as the inside of a JSON string, byte for byte as
// Docker's json-file driver writes it: \n and \r by letter, other control
// characters and <, >, & as \u00xx, U+2028 and U+2029 escaped, each byte that is
// not UTF-8 as \ufffd.
func AppendEscaped(dst, p []byte) []byte {
	start := 0
	for i := 0; i < len(p); {
		b := p[i]
		if plain(b) {
			i++
			continue
		}
		if b < utf8.RuneSelf {
			dst = append(dst, p[start:i]...)
			switch b {
			case '\\', '"':
				dst = append(dst, '\\', b)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(p[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, p[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, p[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hex[r&15])
			start = i + size
		}
		i += size
	}
	return append(dst, p[start:]...)
}

// unfinishedRune is the number of bytes at the end of p that begin a character
// without completing it.
func unfinishedRune(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		tail := p[len(p)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

func indexByte(p []byte, b byte) int { return bytes.IndexByte(p, b) }
