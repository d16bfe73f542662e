package systemd

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// annotationPrefix begins the annotations that set properties of the unit, as with runc:
// "org.systemd.property.TimeoutStopUSec": "uint64 123456789". The values are GVariant
// texts.
const annotationPrefix = "org.systemd.property."

// annotated returns the properties that a specification's annotations set.
func annotated(annotations map[string]string) ([]prop, error) {
	var list []prop
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, annotationPrefix)
		if !ok {
			continue
		}
		text := annotations[key]
		if !propertyName(name) {
			return nil, fault.New(fault.Invalid, "annotation %.200q does not name a property of a systemd unit", key)
		}
		v, err := parseVariant(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "annotation %s: %w", key, err)
		}
		// People write seconds, the bus knows microseconds.
		if stem, isSec := strings.CutSuffix(name, "Sec"); isSec && !strings.HasSuffix(name, "USec") {
			seconds, ok := v.(numberValue)
			if !ok || strings.IndexByte("nix", seconds.kind) >= 0 && int64(seconds.value) < 0 {
				return nil, fault.New(fault.Invalid, "annotation %s: %.60q is not a number of seconds", key, text)
			}
			name, v = stem+"USec", u64Value(seconds.value*usec)
		}
		list = append(list, prop{name, v})
	}
	return list, nil
}

func propertyName(s string) bool {
	ok := s != "" && s[0] >= 'A' && s[0] <= 'Z'
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	return ok
}

// parseVariant reads the GVariant texts that properties need: true, 'text', a number with
// its type before it or of type int32, ['list', 'of texts'].
func parseVariant(text string) (propertyValue, error) {
	text = strings.TrimSpace(text)
	wrong := fault.New(fault.Invalid, "%.200q is none of true, false, 'text', uint64 5 and ['text', 'text']", text)
	switch {
	case text == "true", text == "false":
		return boolValue(text == "true"), nil
	case strings.HasPrefix(text, "'"), strings.HasPrefix(text, `"`):
		s, rest, ok := quotedText(text)
		if !ok || rest != "" {
			return nil, wrong
		}
		return textValue(s), nil
	case strings.HasPrefix(text, "["):
		list, ok := texts(text)
		if !ok {
			return nil, wrong
		}
		return list, nil
	}
	kind, digits := byte('i'), text
	if name, rest, ok := strings.Cut(text, " "); ok {
		if kind, digits = numberKind(name), strings.TrimSpace(rest); kind == 0 {
			return nil, wrong
		}
	}
	bits := map[byte]int{'y': 8, 'n': 16, 'q': 16, 'i': 32, 'u': 32, 'x': 64, 't': 64}[kind]
	if strings.IndexByte("nix", kind) >= 0 {
		n, err := strconv.ParseInt(digits, 0, bits)
		if err != nil {
			return nil, wrong
		}
		return numberValue{kind, uint64(n)}, nil
	}
	n, err := strconv.ParseUint(digits, 0, bits)
	if err != nil {
		return nil, wrong
	}
	return numberValue{kind, n}, nil
}

func numberKind(name string) byte {
	switch name {
	case "byte":
		return 'y'
	case "int16":
		return 'n'
	case "uint16":
		return 'q'
	case "int32":
		return 'i'
	case "uint32":
		return 'u'
	case "int64":
		return 'x'
	case "uint64":
		return 't'
	}
	return 0
}

// quotedText reads a text in quotes, and returns what is behind it.
func quotedText(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", false
	}
	var b []byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return string(b), strings.TrimSpace(s[i+1:]), true
		case c == 0:
			return "", "", false
		case c == '\\' && i+1 < len(s):
			i++
			b = append(b, s[i])
		default:
			b = append(b, c)
		}
	}
	return "", "", false
}

func texts(s string) (textsValue, bool) {
	list := textsValue{}
	rest := strings.TrimSpace(s[1:])
	if rest == "]" {
		return list, true
	}
	for {
		text, behind, ok := quotedText(rest)
		if !ok || behind == "" {
			return nil, false
		}
		list = append(list, text)
		switch behind[0] {
		case ',':
			rest = strings.TrimSpace(behind[1:])
		case ']':
			return list, behind == "]"
		default:
			return nil, false
		}
	}
}
