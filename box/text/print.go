package text

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/box/tool"
)

func echo(c *tool.Call) int {
	args, newline, escapes := c.Args, true, false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], "neE") == "" {
		newline = newline && !strings.Contains(args[0], "n")
		escapes = strings.Contains(args[0], "e")
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if escapes {
		var stop bool
		if text, stop = unescape(text, true); stop {
			newline = false
		}
	}
	c.Out.WriteString(text)
	if newline {
		c.Out.WriteByte('\n')
	}
	return tool.OK
}

// unescape replaces backslash sequences; stop tells that \c ended the text.
// In echo and %b an octal number begins with 0.
func unescape(text string, zero bool) (out string, stop bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch ch := text[i]; ch {
		case 'c':
			return b.String(), true
		case 'x':
			n := span(text[i+1:], "0123456789abcdefABCDEF", 2)
			if n == 0 {
				b.WriteString(`\x`)
				continue
			}
			v, _ := strconv.ParseUint(text[i+1:i+1+n], 16, 8) // hex digits only
			b.WriteByte(byte(v))
			i += n
		case '0', '1', '2', '3', '4', '5', '6', '7':
			start, most := i, 3
			if zero && ch == '0' {
				start++
			} else if zero {
				b.WriteByte('\\')
				b.WriteByte(ch)
				continue
			}
			n := span(text[start:], "01234567", most)
			v, _ := strconv.ParseUint("0"+text[start:start+n], 8, 16) // octal digits only
			b.WriteByte(byte(v))
			i = start + n - 1
		default:
			if j := strings.IndexByte("abefnrtv\\", ch); j >= 0 {
				b.WriteByte("\a\b\x1b\f\n\r\t\v\\"[j])
			} else {
				b.WriteByte('\\')
				b.WriteByte(ch)
			}
		}
	}
	return b.String(), false
}

func span(text, set string, most int) int {
	n := 0
	for n < len(text) && n < most && strings.IndexByte(set, text[n]) >= 0 {
		n++
	}
	return n
}

// formatter is one printf.
type formatter struct {
	c    *tool.Call
	b    strings.Builder
	args []string
	used bool
}

func printfTool(c *tool.Call) int {
	if len(c.Args) == 0 {
		return c.Misused("needs a format")
	}
	f := &formatter{c: c, args: c.Args[1:]}
	for {
		f.used = false
		stop := f.once(c.Args[0])
		if stop || len(f.args) == 0 || !f.used {
			break
		}
	}
	c.Out.WriteString(f.b.String())
	return c.Status()
}

func (f *formatter) next() string {
	f.used = true
	if len(f.args) == 0 {
		return ""
	}
	a := f.args[0]
	f.args = f.args[1:]
	return a
}

func (f *formatter) once(format string) (stop bool) {
	for format != "" {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			i = len(format)
		}
		text, stop := unescape(format[:i], false)
		f.b.WriteString(text)
		if stop || i == len(format) {
			return stop
		}
		format = format[i:]
		n := 1
		for n < len(format) && strings.IndexByte("-+ #0123456789.*", format[n]) >= 0 {
			n++
		}
		if n == len(format) {
			f.b.WriteString(format)
			return false
		}
		if f.verb(format[:n], format[n]) {
			return true
		}
		format = format[n+1:]
	}
	return false
}

func (f *formatter) verb(spec string, verb byte) (stop bool) {
	for strings.Contains(spec, "*") {
		spec = strings.Replace(spec, "*", strconv.FormatInt(f.integer(f.next()), 10), 1)
	}
	switch verb {
	case '%':
		f.b.WriteByte('%')
	case 's':
		fmt.Fprintf(&f.b, spec+"s", f.next())
	case 'b':
		text, stop := unescape(f.next(), true)
		fmt.Fprintf(&f.b, spec+"s", text)
		return stop
	case 'q':
		f.b.WriteString("'" + strings.ReplaceAll(f.next(), "'", `'\''`) + "'")
	case 'c':
		a := f.next()
		fmt.Fprintf(&f.b, spec+"s", a[:min(1, len(a))])
	case 'd', 'i':
		fmt.Fprintf(&f.b, spec+"d", f.integer(f.next()))
	case 'u':
		fmt.Fprintf(&f.b, spec+"d", uint64(f.integer(f.next())))
	case 'x', 'X', 'o':
		fmt.Fprintf(&f.b, spec+string(verb), uint64(f.integer(f.next())))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		a := f.next()
		v, err := strconv.ParseFloat(a, 64)
		if err != nil && a != "" {
			f.c.Fail("%q is not a number", a)
			v = 0
		}
		if math.IsInf(v, 0) || math.IsNaN(v) {
			verb = 'f'
		}
		fmt.Fprintf(&f.b, spec+string(verb), v)
	default:
		f.c.Fail("%%%c: invalid directive", verb)
		return true
	}
	return false
}

func (f *formatter) integer(text string) int64 {
	if text == "" {
		return 0
	}
	if quote := text[0]; (quote == '\'' || quote == '"') && len(text) > 1 {
		return int64([]rune(text[1:])[0])
	}
	v, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		u, uerr := strconv.ParseUint(text, 0, 64)
		if uerr != nil {
			f.c.Fail("%q is not a number", text)
			return 0
		}
		return int64(u)
	}
	return v
}

func seq(c *tool.Call) int {
	// Negative numbers look like options: only these are.
	sep, equal, args := "\n", false, c.Args
	for len(args) > 0 && (args[0] == "-w" || strings.HasPrefix(args[0], "-s")) {
		switch {
		case args[0] == "-w":
			equal = true
		case args[0] != "-s":
			sep = args[0][2:]
		case len(args) > 1:
			sep, args = args[1], args[1:]
		}
		args = args[1:]
	}
	if len(args) < 1 || len(args) > 3 {
		return c.Misused("needs 1 to 3 numbers")
	}
	values := []float64{1, 1, 0}
	decimals := 0
	for i, a := range args {
		v, err := strconv.ParseFloat(a, 64)
		if err != nil {
			return c.Misused("%q is not a number", a)
		}
		if j := strings.IndexByte(a, '.'); j >= 0 {
			decimals = max(decimals, len(a)-j-1)
		}
		switch {
		case i == len(args)-1:
			values[2] = v
		case i == 0:
			values[0] = v
		default:
			values[1] = v
		}
	}
	first, step, last := values[0], values[1], values[2]
	if step == 0 {
		return c.Misused("the step must not be 0")
	}
	text := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	width := 0
	if equal {
		width = max(len(text(first)), len(text(last)))
	}
	for i := 0; ; i++ {
		v := first + float64(i)*step
		if step > 0 && v > last+1e-9 || step < 0 && v < last-1e-9 {
			if i > 0 {
				c.Out.WriteByte('\n')
			}
			return tool.OK
		}
		if i > 0 {
			c.Out.WriteString(sep)
		}
		if _, err := fmt.Fprintf(c.Out, "%0*s", width, text(v)); err != nil {
			return tool.Failed
		}
	}
}

func yes(c *tool.Call) int {
	line := "y\n"
	if len(c.Args) > 0 {
		line = strings.Join(c.Args, " ") + "\n"
	}
	block := strings.Repeat(line, max(1, 8192/len(line)))
	for {
		if _, err := c.Out.WriteString(block); err != nil {
			return tool.Failed
		}
	}
}
