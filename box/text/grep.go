package text

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/box/tool"
)

type grepper struct {
	c             *tool.Call
	o             *tool.Options
	re            *regexp.Regexp
	names         bool
	limit         int
	before, after int
	matched       bool
}

func grep(c *tool.Call) int {
	o, status, ok := c.Options("EFGivnclLoqwxHhrRsm:e:f:A:B:C:a E=extended-regexp F=fixed-strings i=ignore-case v=invert-match n=line-number c=count l=files-with-matches o=only-matching q=quiet w=word-regexp x=line-regexp r=recursive s=no-messages m=max-count e=regexp A=after-context B=before-context C=context")
	if !ok {
		return status
	}
	patterns, args := o.Values('e'), o.Args
	if len(patterns) == 0 {
		if len(args) == 0 {
			return c.Misused("needs a pattern")
		}
		patterns, args = strings.Split(args[0], "\n"), args[1:]
	}
	for i, p := range patterns {
		switch {
		case o.Has('F') || c.Name == "fgrep":
			patterns[i] = regexp.QuoteMeta(p)
		case !o.Has('E') && c.Name != "egrep":
			patterns[i] = basicToExtended(p)
		}
	}
	expr := "(?:" + strings.Join(patterns, ")|(?:") + ")"
	if o.Has('w') {
		expr = `\b(?:` + expr + `)\b`
	}
	if o.Has('x') {
		expr = `^(?:` + expr + `)$`
	}
	if o.Has('i') {
		expr = "(?i)" + expr
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return c.Misused("bad pattern: %s", err)
	}
	g := &grepper{c: c, o: o, re: re, limit: 1 << 30}
	for _, n := range []struct {
		letter byte
		to     []*int
	}{{'m', []*int{&g.limit}}, {'C', []*int{&g.before, &g.after}}, {'A', []*int{&g.after}}, {'B', []*int{&g.before}}} {
		text := o.Value(n.letter, "")
		if text == "" {
			continue
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 {
			return c.Misused("-%c needs a number", n.letter)
		}
		for _, to := range n.to {
			*to = v
		}
	}
	if o.Has('s') {
		c.Err = io.Discard
	}
	g.run(args)
	switch {
	case g.matched && (o.Has('q') || c.Status() == tool.OK):
		return tool.OK
	case c.Status() != tool.OK:
		return tool.Misuse
	}
	return tool.Failed
}

func (g *grepper) run(args []string) {
	recursive := g.o.Has('r') || g.o.Has('R')
	if recursive && len(args) == 0 {
		args = []string{"."}
	}
	g.names = (len(args) > 1 || recursive || g.o.Has('H')) && !g.o.Has('h')
	if !recursive {
		g.c.Inputs(args, g.search)
		return
	}
	for _, root := range args {
		err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				g.c.FailPath(p, err)
			case e.Type().IsRegular():
				g.c.Input(p, func(r io.Reader) error { return g.search(p, r) })
			}
			return nil
		})
		if err != nil {
			g.c.FailPath(root, err)
		}
	}
}

func (g *grepper) search(name string, r io.Reader) error {
	if f, ok := r.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.IsDir() {
			return errors.New("is a directory")
		}
	}
	if name == "-" {
		name = "(standard input)"
	}
	var held []string // for -B
	hits, number, trailing, printed := 0, 0, 0, 0
	show := func(line string, n int, sep string) {
		if g.names {
			fmt.Fprint(g.c.Out, name, sep)
		}
		if g.o.Has('n') {
			fmt.Fprint(g.c.Out, n, sep)
		}
		fmt.Fprintln(g.c.Out, line)
		printed = n
	}
	err := tool.Lines(r, func(line string) error {
		number++
		if g.re.MatchString(line) == g.o.Has('v') {
			if trailing > 0 {
				trailing--
				show(line, number, "-")
			} else if g.before > 0 {
				if held = append(held, line); len(held) > g.before {
					held = held[1:]
				}
			}
			return nil
		}
		hits++
		g.matched = true
		switch {
		case g.o.Has('q') || g.o.Has('l') || g.o.Has('L'):
			return errEnough
		case g.o.Has('c'):
		case g.o.Has('o') && !g.o.Has('v'):
			for _, m := range g.re.FindAllString(line, -1) {
				if m != "" {
					show(m, number, ":")
				}
			}
		default:
			if printed > 0 && number-len(held) > printed+1 && g.before+g.after > 0 {
				fmt.Fprintln(g.c.Out, "--")
			}
			for i, h := range held {
				show(h, number-len(held)+i, "-")
			}
			held = nil
			show(line, number, ":")
			trailing = g.after
		}
		if hits >= g.limit {
			return errEnough
		}
		return nil
	})
	switch {
	case g.o.Has('l') && hits > 0, g.o.Has('L') && hits == 0:
		fmt.Fprintln(g.c.Out, name)
	case g.o.Has('c') && !g.o.Has('q'):
		if g.names {
			fmt.Fprint(g.c.Out, name, ":")
		}
		fmt.Fprintln(g.c.Out, hits)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// basicToExtended turns a POSIX basic expression into the form that Go reads:
// there \( \) \{ \} \| \+ \? are special and the bare characters are not.
func basicToExtended(p string) string {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(p); i++ {
		ch := p[i]
		switch {
		case inClass:
			b.WriteByte(ch)
			// A ] right after [ or [^ is a member.
			if ch == ']' && !(p[i-1] == '[' || p[i-1] == '^' && i > 1 && p[i-2] == '[') {
				inClass = false
			} else if ch == '[' && i+1 < len(p) && strings.IndexByte(":.=", p[i+1]) >= 0 {
				if end := strings.Index(p[i+2:], string(p[i+1])+"]"); end >= 0 {
					b.WriteString(p[i+1 : i+2+end+2])
					i += 2 + end + 1
				}
			}
		case ch == '[':
			inClass = true
			b.WriteByte(ch)
		case ch == '\\' && i+1 < len(p):
			i++
			switch p[i] {
			case '(', ')', '{', '}', '|', '+', '?':
				b.WriteByte(p[i])
			case '<', '>':
				b.WriteString(`\b`)
			default:
				b.WriteByte('\\')
				b.WriteByte(p[i])
			}
		case strings.IndexByte("(){}|+?", ch) >= 0, ch == '*' && (i == 0 || i == 1 && p[0] == '^'):
			b.WriteByte('\\')
			b.WriteByte(ch)
		default:
			b.WriteByte(ch)
		}
	}
	return b.String()
}
