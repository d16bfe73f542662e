package changes

import (
	"strings"
)

// splitWords splits at spaces and keeps quotes and escapes, which belong to
// the words and are taken away by expand.
func splitWords(text string) []string {
	var words []string
	var b strings.Builder
	var quote rune
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == ' ' || r == '\t':
			if b.Len() > 0 {
				words = append(words, b.String())
				b.Reset()
			}
			continue
		}
		b.WriteRune(r)
	}
	if b.Len() > 0 {
		words = append(words, b.String())
	}
	return words
}

// expand takes the quotes and escapes of a word away and puts in variables of
// the image's environment: $name, ${name}, ${name:-default}, ${name:+other}.
// Nothing is expanded between single quotes.
func (c *change) expand(word string) (string, error) {
	e := expander{c: c, rest: word}
	return e.until(0)
}

// maxNesting bounds ${a:-${b:-…}}.
const maxNesting = 32

type expander struct {
	c     *change
	rest  string
	depth int
}

func (e *expander) next() (byte, bool) {
	if e.rest == "" {
		return 0, false
	}
	b := e.rest[0]
	e.rest = e.rest[1:]
	return b, true
}

// until expands up to the byte end, or to the end of the word if end is 0.
func (e *expander) until(end byte) (string, error) {
	var b strings.Builder
	for {
		ch, ok := e.next()
		switch {
		case !ok && end != 0:
			return "", e.c.invalid("missing %q", string(end))
		case !ok, ch == end:
			return b.String(), nil
		case ch == '\'':
			i := strings.IndexByte(e.rest, '\'')
			if i < 0 {
				return "", e.c.invalid("a single quote is not closed")
			}
			b.WriteString(e.rest[:i])
			e.rest = e.rest[i+1:]
		case ch == '"':
			if err := e.quoted(&b); err != nil {
				return "", err
			}
		case ch == '\\':
			if ch, ok = e.next(); ok {
				b.WriteByte(ch)
			}
		case ch == '$':
			value, err := e.variable()
			if err != nil {
				return "", err
			}
			b.WriteString(value)
		default:
			b.WriteByte(ch)
		}
	}
}

// quoted reads to the closing double quote; a backslash escapes only itself,
// the quote and the dollar sign.
func (e *expander) quoted(b *strings.Builder) error {
	for {
		ch, ok := e.next()
		switch {
		case !ok:
			return e.c.invalid("a double quote is not closed")
		case ch == '"':
			return nil
		case ch == '\\':
			escaped, ok := e.next()
			if !ok {
				return e.c.invalid("a double quote is not closed")
			}
			if escaped != '"' && escaped != '$' && escaped != '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(escaped)
		case ch == '$':
			value, err := e.variable()
			if err != nil {
				return err
			}
			b.WriteString(value)
		default:
			b.WriteByte(ch)
		}
	}
}

// variable reads what follows a dollar sign.
func (e *expander) variable() (string, error) {
	if !strings.HasPrefix(e.rest, "{") {
		name := e.name()
		if name == "" {
			return "$", nil
		}
		value, _ := e.c.lookup(name)
		return value, nil
	}
	e.rest = e.rest[1:]
	name := e.name()
	if name == "" {
		return "", e.c.invalid("bad substitution")
	}
	value, set := e.c.lookup(name)
	ch, ok := e.next()
	switch {
	case ok && ch == '}':
		return value, nil
	case !ok || ch != ':' && ch != '-' && ch != '+':
		return "", e.c.invalid("unsupported modifier in substitution of %s", name)
	}
	if ch == ':' {
		set = set && value != ""
		if ch, ok = e.next(); !ok || ch != '-' && ch != '+' {
			return "", e.c.invalid("unsupported modifier in substitution of %s", name)
		}
	}
	if e.depth++; e.depth > maxNesting {
		return "", e.c.invalid("substitutions are nested deeper than %d", maxNesting)
	}
	word, err := e.until('}')
	e.depth--
	if err != nil {
		return "", err
	}
	switch {
	case ch == '-' && !set, ch == '+' && set:
		return word, nil
	case ch == '-':
		return value, nil
	}
	return "", nil
}

func (e *expander) name() string {
	i := 0
	for i < len(e.rest) {
		b := e.rest[i]
		if b != '_' && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (i == 0 || b < '0' || b > '9') {
			break
		}
		i++
	}
	name := e.rest[:i]
	e.rest = e.rest[i:]
	return name
}

func (c *change) lookup(name string) (string, bool) {
	for _, entry := range c.cfg.Env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}
