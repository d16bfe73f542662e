package text

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/sampan-containers/sampan/box/tool"
)

func sum(c *tool.Call) int {
	o, status, ok := c.Options("bctsw c=check s=status")
	if !ok {
		return status
	}
	make := map[string]func() hash.Hash{"md5sum": md5.New, "sha1sum": sha1.New, "sha256sum": sha256.New, "sha512sum": sha512.New}[c.Name]
	digest := func(r io.Reader) (string, error) {
		h := make()
		_, err := io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	if !o.Has('c') {
		c.Inputs(o.Args, func(name string, r io.Reader) error {
			text, err := digest(r)
			if err == nil {
				_, err = fmt.Fprintf(c.Out, "%s  %s\n", text, name)
			}
			return err
		})
		return c.Status()
	}
	c.Inputs(o.Args, func(_ string, list io.Reader) error {
		return tool.Lines(list, func(line string) error {
			want, name, found := strings.Cut(line, " ")
			if !found {
				c.Fail("%q is not a line of checksum and name", line)
				return nil
			}
			name = strings.TrimLeft(name, " *")
			c.Input(name, func(r io.Reader) error {
				got, err := digest(r)
				result := "OK"
				if err != nil || !strings.EqualFold(got, want) {
					result = "FAILED"
					c.Fail("%s: the checksum does not match", name)
				}
				if !o.Has('s') {
					fmt.Fprintf(c.Out, "%s: %s\n", name, result)
				}
				return err
			})
			return nil
		})
	})
	return c.Status()
}

func base64Tool(c *tool.Call) int {
	o, status, ok := c.Options("dDiw: d=decode w=wrap i=ignore-garbage")
	if !ok {
		return status
	}
	width, err := strconv.Atoi(o.Value('w', "76"))
	if err != nil || width < 0 {
		return c.Misused("-w needs a number of columns")
	}
	c.Inputs(o.Args, func(_ string, r io.Reader) error {
		if o.Has('d') || o.Has('D') {
			_, err := io.Copy(c.Out, base64.NewDecoder(base64.StdEncoding, r))
			return err
		}
		w := &wrapper{w: c.Out, width: width}
		enc := base64.NewEncoder(base64.StdEncoding, w)
		if _, err := io.Copy(enc, r); err != nil {
			return err
		}
		if err := enc.Close(); err != nil {
			return err
		}
		if w.column > 0 {
			fmt.Fprintln(c.Out)
		}
		return nil
	})
	return c.Status()
}

// wrapper breaks lines.
type wrapper struct {
	w             *bufio.Writer
	width, column int
}

func (w *wrapper) Write(p []byte) (int, error) {
	for _, b := range p {
		if err := w.w.WriteByte(b); err != nil {
			return 0, err
		}
		if w.column++; w.column == w.width {
			if err := w.w.WriteByte('\n'); err != nil {
				return 0, err
			}
			w.column = 0
		}
	}
	return len(p), nil
}

func hexdump(c *tool.Call) int {
	o, status, ok := c.Options("C")
	if !ok {
		return status
	}
	c.Inputs(o.Args, func(_ string, r io.Reader) error {
		buf := make([]byte, 16)
		for at := 0; ; {
			n, err := io.ReadFull(r, buf)
			if n > 0 {
				fmt.Fprintf(c.Out, "%08x  ", at)
				for i := range buf {
					if i < n {
						fmt.Fprintf(c.Out, "%02x ", buf[i])
					} else {
						fmt.Fprint(c.Out, "   ")
					}
					if i == 7 {
						fmt.Fprint(c.Out, " ")
					}
				}
				fmt.Fprintf(c.Out, " |%s|\n", strings.Map(func(r rune) rune {
					if r < ' ' || r > '~' {
						return '.'
					}
					return r
				}, latin(buf[:n])))
				at += n
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				fmt.Fprintf(c.Out, "%08x\n", at)
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	return c.Status()
}

// latin makes one rune of each byte.
func latin(p []byte) string {
	runes := make([]rune, len(p))
	for i, b := range p {
		runes[i] = rune(b)
	}
	return string(runes)
}

func compareFiles(c *tool.Call) int {
	o, status, ok := c.Options("ls s=quiet")
	if !ok {
		return status
	}
	if len(o.Args) != 2 {
		return c.Misused("needs two files")
	}
	var readers [2]*bufio.Reader
	for i, name := range o.Args {
		if name == "-" {
			readers[i] = bufio.NewReader(c.In)
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			c.FailPath(name, err)
			return tool.Misuse
		}
		defer f.Close()
		readers[i] = bufio.NewReader(f)
	}
	line := 1
	for at := 1; ; at++ {
		a, errA := readers[0].ReadByte()
		b, errB := readers[1].ReadByte()
		switch {
		case errA == io.EOF && errB == io.EOF:
			return tool.OK
		case errA == io.EOF || errB == io.EOF:
			if !o.Has('s') {
				name := o.Args[0]
				if errB == io.EOF {
					name = o.Args[1]
				}
				fmt.Fprintf(c.Err, "cmp: EOF on %s\n", name)
			}
			return tool.Failed
		case errA != nil || errB != nil:
			return c.Fail("cannot read")
		case a != b:
			if !o.Has('s') {
				fmt.Fprintf(c.Out, "%s %s differ: byte %d, line %d\n", o.Args[0], o.Args[1], at, line)
			}
			return tool.Failed
		}
		if a == '\n' {
			line++
		}
	}
}

func tr(c *tool.Call) int {
	o, status, ok := c.Options("+cCdst c=complement d=delete s=squeeze-repeats")
	if !ok {
		return status
	}
	if len(o.Args) == 0 || len(o.Args) > 2 {
		return c.Misused("needs one or two sets")
	}
	from := charSet(o.Args[0])
	var to []rune
	if len(o.Args) == 2 {
		to = charSet(o.Args[1])
	}
	member := map[rune]int{}
	for i, r := range from {
		if _, twice := member[r]; !twice {
			member[r] = i
		}
	}
	complement := o.Has('c') || o.Has('C')
	squeeze := map[rune]bool{}
	if o.Has('s') {
		for _, r := range charSet(o.Args[len(o.Args)-1]) {
			squeeze[r] = true
		}
	}
	in := bufio.NewReader(c.In)
	var last rune = -1
	for {
		r, _, err := in.ReadRune()
		if err == io.EOF {
			return tool.OK
		}
		if err != nil {
			return c.Fail("%s", tool.Reason(err))
		}
		i, is := member[r]
		if complement {
			is, i = !is, len(to)-1
		}
		if is && o.Has('d') {
			continue
		}
		if is && len(to) > 0 {
			r = to[min(max(i, 0), len(to)-1)]
		}
		if o.Has('s') && r == last && (squeeze[r] || complement && is) {
			continue
		}
		last = r
		if _, err := c.Out.WriteRune(r); err != nil {
			return tool.Failed
		}
		if r == '\n' && in.Buffered() == 0 {
			if err := c.Out.Flush(); err != nil {
				return tool.Failed
			}
		}
	}
}

// charSet expands ranges, classes and escapes of a set of tr.
func charSet(text string) []rune {
	text, _ = unescape(text, false)
	var set []rune
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		if class, n := charClass(string(runes[i:])); n > 0 {
			set = append(set, class...)
			i += n - 1
			continue
		}
		if i+2 < len(runes) && runes[i+1] == '-' && runes[i+2] >= runes[i] {
			for r := runes[i]; r <= runes[i+2]; r++ {
				set = append(set, r)
			}
			i += 2
			continue
		}
		set = append(set, runes[i])
	}
	return set
}

func charClass(text string) ([]rune, int) {
	tests := map[string]func(rune) bool{
		"[:alpha:]": unicode.IsLetter, "[:digit:]": unicode.IsDigit, "[:upper:]": unicode.IsUpper, "[:lower:]": unicode.IsLower,
		"[:space:]": unicode.IsSpace, "[:punct:]": func(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) },
		"[:alnum:]": func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) },
		"[:cntrl:]": unicode.IsControl, "[:print:]": unicode.IsPrint, "[:graph:]": func(r rune) bool { return unicode.IsGraphic(r) && r != ' ' },
		"[:blank:]":  func(r rune) bool { return r == ' ' || r == '\t' },
		"[:xdigit:]": func(r rune) bool { return strings.ContainsRune("0123456789abcdefABCDEF", r) },
	}
	for name, is := range tests {
		if !strings.HasPrefix(text, name) {
			continue
		}
		var set []rune
		for r := range rune(unicode.MaxASCII + 1) {
			if is(r) {
				set = append(set, r)
			}
		}
		return set, len(name)
	}
	return nil, 0
}
