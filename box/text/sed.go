package text

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/box/tool"
)

// sedCommand is one command of a script: s, d, p, q, =, y, a, i or c, with up
// to two addresses. Labels and the hold space are not supported, and say so.
type sedCommand struct {
	from, to  *sedAddress
	negate    bool
	name      byte
	re        *regexp.Regexp
	with      string
	global    bool
	print     bool
	nth       int
	translate map[rune]rune
	active    bool // between its two addresses
}

type sedAddress struct {
	line int // 0: not by number, -1: the last line
	re   *regexp.Regexp
}

func sed(c *tool.Call) int {
	o, status, ok := c.Options("nErie:s n=quiet E=regexp-extended i=in-place e=expression")
	if !ok {
		return status
	}
	scripts, args := o.Values('e'), o.Args
	if len(scripts) == 0 {
		if len(args) == 0 {
			return c.Misused("needs a script")
		}
		scripts, args = args[:1], args[1:]
	}
	p := &sedParser{extended: o.Has('E') || o.Has('r')}
	for _, s := range scripts {
		if err := p.parse(s); err != nil {
			return c.Misused("%s", err)
		}
	}
	e := &editor{commands: p.commands, quiet: o.Has('n')}
	if !o.Has('i') {
		c.Inputs(args, func(_ string, r io.Reader) error { return e.edit(r, c.Out) })
		return c.Status()
	}
	for _, name := range args {
		if err := editInPlace(e, name); err != nil {
			c.FailPath(name, err)
		}
	}
	return c.Status()
}

func editInPlace(e *editor, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(name), ".sed-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	w := bufio.NewWriter(out)
	e.line, e.quit = 0, false
	err = e.edit(in, w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = out.Chmod(st.Mode().Perm())
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(out.Name(), name)
}

type editor struct {
	commands []*sedCommand
	quiet    bool
	line     int
	quit     bool
}

func (e *editor) edit(r io.Reader, w *bufio.Writer) error {
	b := bufio.NewReader(r)
	for !e.quit {
		text, err := b.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if text == "" {
			return nil
		}
		_, peek := b.Peek(1)
		body, ended := strings.CutSuffix(text, "\n")
		e.line++
		e.apply(body, peek != nil, ended, w)
	}
	return nil
}

func (e *editor) apply(text string, last, ended bool, w *bufio.Writer) {
	end := ""
	if ended {
		end = "\n"
	}
	var after []string
	deleted := false
	for _, c := range e.commands {
		if c.selects(e.line, last, text) == c.negate {
			continue
		}
		switch c.name {
		case 's':
			var changed bool
			if text, changed = c.substitute(text); changed && c.print {
				fmt.Fprint(w, text, "\n")
			}
		case 'y':
			text = strings.Map(func(r rune) rune {
				if to, ok := c.translate[r]; ok {
					return to
				}
				return r
			}, text)
		case 'p':
			fmt.Fprint(w, text, "\n")
		case '=':
			fmt.Fprintln(w, e.line)
		case 'i':
			fmt.Fprintln(w, c.with)
		case 'a':
			after = append(after, c.with)
		case 'c':
			if c.to == nil || !c.active {
				fmt.Fprintln(w, c.with)
			}
			deleted = true
		case 'd':
			deleted = true
		case 'q':
			e.quit = true
		}
		if deleted || e.quit {
			break
		}
	}
	if !e.quiet && !deleted {
		fmt.Fprint(w, text, end)
	}
	for _, line := range after {
		fmt.Fprintln(w, line)
	}
}

func (a *sedAddress) matches(line int, last bool, text string) bool {
	switch {
	case a.re != nil:
		return a.re.MatchString(text)
	case a.line < 0:
		return last
	}
	return a.line == line
}

func (c *sedCommand) selects(line int, last bool, text string) bool {
	switch {
	case c.from == nil:
		return true
	case c.to == nil:
		return c.from.matches(line, last, text)
	case c.active:
		c.active = !c.to.matches(line, last, text) && (c.to.line <= 0 || line < c.to.line)
		return true
	case c.from.matches(line, last, text):
		c.active = c.to.re != nil || c.to.line < 0 && !last || c.to.line > line
		return true
	}
	return false
}

func (c *sedCommand) substitute(text string) (string, bool) {
	var b bytes.Buffer
	at, n, changed := 0, 0, false
	for _, m := range c.re.FindAllStringSubmatchIndex(text, -1) {
		n++
		if n < c.nth || !c.global && n > c.nth {
			continue
		}
		b.WriteString(text[at:m[0]])
		b.Write(c.re.ExpandString(nil, c.with, text, m))
		at = m[1]
		changed = true
	}
	b.WriteString(text[at:])
	return b.String(), changed
}

type sedParser struct {
	extended bool
	commands []*sedCommand
	rest     string
}

func (p *sedParser) parse(script string) error {
	p.rest = script
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\n;")
		if p.rest == "" {
			return nil
		}
		if p.rest[0] == '#' {
			_, p.rest, _ = strings.Cut(p.rest, "\n")
			continue
		}
		if err := p.command(); err != nil {
			return err
		}
	}
}

func (p *sedParser) command() error {
	c := &sedCommand{nth: 1}
	var err error
	if c.from, err = p.address(); err != nil {
		return err
	}
	if c.from != nil && strings.HasPrefix(p.rest, ",") {
		p.rest = p.rest[1:]
		if c.to, err = p.address(); err != nil || c.to == nil {
			return fmt.Errorf("bad second address in %q", p.rest)
		}
	}
	p.rest = strings.TrimLeft(p.rest, " \t")
	if strings.HasPrefix(p.rest, "!") {
		c.negate = true
		p.rest = strings.TrimLeft(p.rest[1:], " \t")
	}
	if p.rest == "" {
		return fmt.Errorf("missing command")
	}
	c.name, p.rest = p.rest[0], p.rest[1:]
	p.commands = append(p.commands, c)
	switch c.name {
	case 'd', 'p', 'q', '=':
		return nil
	case 's':
		return p.substitution(c)
	case 'y':
		return p.translation(c)
	case 'a', 'i', 'c':
		text, rest, _ := strings.Cut(p.rest, "\n")
		p.rest = rest
		text = strings.TrimPrefix(strings.TrimLeft(text, " \t"), `\`)
		if text == "" {
			text, p.rest, _ = strings.Cut(p.rest, "\n")
		}
		c.with = text
		return nil
	}
	return fmt.Errorf("the command %q is not supported by this sed", string(c.name))
}

func (p *sedParser) address() (*sedAddress, error) {
	switch {
	case p.rest == "":
		return nil, nil
	case p.rest[0] == '$':
		p.rest = p.rest[1:]
		return &sedAddress{line: -1}, nil
	case p.rest[0] == '/':
		text, err := p.delimited('/', true)
		if err != nil {
			return nil, err
		}
		re, err := p.compile(text, "")
		return &sedAddress{re: re}, err
	}
	n := span(p.rest, "0123456789", 9)
	if n == 0 {
		return nil, nil
	}
	line, err := strconv.Atoi(p.rest[:n])
	p.rest = p.rest[n:]
	return &sedAddress{line: line}, err
}

// delimited reads up to the next unescaped end; the text begins at it if skip.
func (p *sedParser) delimited(end byte, skip bool) (string, error) {
	if skip {
		p.rest = p.rest[1:]
	}
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch ch := p.rest[i]; {
		case ch == '\\' && i+1 < len(p.rest):
			i++
			if p.rest[i] != end {
				b.WriteByte('\\')
			}
			b.WriteByte(p.rest[i])
		case ch == end:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		default:
			b.WriteByte(ch)
		}
	}
	return "", fmt.Errorf("missing %q", string(end))
}

func (p *sedParser) compile(text, flags string) (*regexp.Regexp, error) {
	if !p.extended {
		text = basicToExtended(text)
	}
	re, err := regexp.Compile(flags + text)
	if err != nil {
		return nil, fmt.Errorf("bad pattern: %s", err)
	}
	return re, nil
}

func (p *sedParser) substitution(c *sedCommand) error {
	if p.rest == "" {
		return fmt.Errorf("s needs a pattern")
	}
	end := p.rest[0]
	pattern, err := p.delimited(end, true)
	if err != nil {
		return err
	}
	with, err := p.delimited(end, false)
	if err != nil {
		return err
	}
	c.with = sedTemplate(with)
	flags := ""
	for p.rest != "" && strings.IndexByte("gpiI0123456789", p.rest[0]) >= 0 {
		switch ch := p.rest[0]; ch {
		case 'g':
			c.global = true
		case 'p':
			c.print = true
		case 'i', 'I':
			flags = "(?i)"
		default:
			n := span(p.rest, "0123456789", 9)
			if c.nth, err = strconv.Atoi(p.rest[:n]); err != nil || c.nth < 1 {
				return fmt.Errorf("bad number after s")
			}
			p.rest = p.rest[n-1:]
		}
		p.rest = p.rest[1:]
	}
	c.re, err = p.compile(pattern, flags)
	return err
}

// sedTemplate turns \1 and & into the form of regexp.Expand.
func sedTemplate(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case ch == '$':
			b.WriteString("$$")
		case ch == '&':
			b.WriteString("${0}")
		case ch == '\\' && i+1 < len(text):
			i++
			switch next := text[i]; {
			case next >= '0' && next <= '9':
				b.WriteString("${" + string(next) + "}")
			case next == 'n':
				b.WriteByte('\n')
			case next == 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(next)
			}
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}

func (p *sedParser) translation(c *sedCommand) error {
	if p.rest == "" {
		return fmt.Errorf("y needs two sets")
	}
	end := p.rest[0]
	from, err := p.delimited(end, true)
	if err != nil {
		return err
	}
	to, err := p.delimited(end, false)
	if err != nil {
		return err
	}
	a, b := []rune(from), []rune(to)
	if len(a) != len(b) {
		return fmt.Errorf("the two sets of y differ in length")
	}
	c.translate = map[rune]rune{}
	for i := range a {
		c.translate[a[i]] = b[i]
	}
	return nil
}
