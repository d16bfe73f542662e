package shell

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// columns lays words out, showing what follows the last slash of each.
func columns(words []string, width int) string {
	widest := 0
	shown := make([]string, len(words))
	for i, w := range words {
		trimmed := strings.TrimSuffix(w, "/")
		shown[i] = w[strings.LastIndexByte(trimmed, '/')+1:]
		widest = max(widest, utf8.RuneCountInString(shown[i]))
	}
	per := max(1, width/(widest+2))
	var b strings.Builder
	for i, w := range shown {
		b.WriteString(w)
		if (i+1)%per == 0 || i == len(shown)-1 {
			b.WriteString("\r\n")
		} else {
			b.WriteString(strings.Repeat(" ", widest+2-utf8.RuneCountInString(w)))
		}
	}
	return b.String()
}

func (e *editor) width() int {
	if w, _, err := term.GetSize(e.fd); err == nil && w > 0 {
		return w
	}
	return defaultWidth
}

// refresh draws prompt and line anew, over as many rows as they need.
func (e *editor) refresh() {
	width := e.width()
	var b strings.Builder
	if e.row > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", e.row)
	}
	b.WriteString("\r\x1b[J" + e.prompt)
	start := cells(e.prompt)
	at, total := start, start
	for i, r := range e.line {
		if i == e.at {
			at = total
		}
		if r < ' ' { // a newline or tab of a paste
			b.WriteString("\x1b[7m \x1b[0m")
			total++
			continue
		}
		b.WriteRune(r)
		total += runeCells(r)
	}
	if e.at == len(e.line) {
		at = total
	}
	if total > 0 && total%width == 0 {
		b.WriteString("\r\n") // the terminal wraps only with the next character
	}
	if up := total/width - at/width; up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r")
	if col := at % width; col > 0 {
		fmt.Fprintf(&b, "\x1b[%dC", col)
	}
	e.row = at / width
	fmt.Fprint(e.out, b.String())
}

// cells counts what a prompt takes on the screen, without its colours.
func cells(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case escape:
			escape = !unicode.IsLetter(r)
		case r == 0x1b:
			escape = true
		default:
			n += runeCells(r)
		}
	}
	return n
}

// runeCells tells wide characters (East Asian and emoji) and marks apart.
func runeCells(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0x1f300 && r <= 0x1f64f || r >= 0x1f900 && r <= 0x1f9ff):
		return 2
	}
	return 1
}
