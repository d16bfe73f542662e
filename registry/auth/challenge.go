package auth

import "strings"

const (
	maxChallenges = 16
	maxParameters = 32
	maxChallenge  = 16 << 10
)

// Challenge is one way to authenticate that a WWW-Authenticate header offers.
type Challenge struct {
	Scheme     string // in lower case
	Parameters map[string]string
}

// ParseChallenges reads the WWW-Authenticate headers of an answer (RFC 9110,
// section 11.6.1). What does not follow the grammar is left out.
func ParseChallenges(headers []string) []Challenge {
	var list []Challenge
	for _, h := range headers {
		if len(h) > maxChallenge {
			continue
		}
		p := &parser{rest: h}
		for len(list) < maxChallenges {
			c, ok := p.challenge()
			if !ok {
				break
			}
			list = append(list, c)
		}
	}
	return list
}

type parser struct{ rest string }

func (p *parser) challenge() (Challenge, bool) {
	p.skip(" \t,")
	scheme := p.token()
	if scheme == "" {
		return Challenge{}, false
	}
	c := Challenge{Scheme: strings.ToLower(scheme), Parameters: map[string]string{}}
	for len(c.Parameters) < maxParameters {
		before := p.rest
		p.skip(" \t,")
		key := p.token()
		p.skip(" \t")
		if key == "" || !strings.HasPrefix(p.rest, "=") {
			p.rest = before // the next challenge, or the end
			break
		}
		p.rest = p.rest[1:]
		p.skip(" \t")
		value, ok := p.value()
		if !ok {
			return c, false
		}
		if _, twice := c.Parameters[strings.ToLower(key)]; !twice {
			c.Parameters[strings.ToLower(key)] = value
		}
	}
	return c, true
}

func (p *parser) skip(set string) { p.rest = strings.TrimLeft(p.rest, set) }

func (p *parser) token() string {
	i := strings.IndexFunc(p.rest, func(r rune) bool { return !isTokenRune(r) })
	if i < 0 {
		i = len(p.rest)
	}
	token := p.rest[:i]
	p.rest = p.rest[i:]
	return token
}

func isTokenRune(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}

// value reads a token, or a quoted string with its escapes.
func (p *parser) value() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		// Registries send URLs unquoted now and then.
		i := strings.IndexAny(p.rest, ", \t")
		if i < 0 {
			i = len(p.rest)
		}
		value := p.rest[:i]
		p.rest = p.rest[i:]
		return value, true
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch ch := p.rest[i]; ch {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i == len(p.rest) {
				return "", false
			}
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(ch)
		}
	}
	return "", false
}
