// Package filter parses and evaluates the `filters` argument of the Engine API:
// a set of terms, each with a set of values. A term holds if any of its values
// matches (labels: if all match), and an object passes if all terms hold.
//
// Clients send two forms, {"name":{"web":true}} and the older {"name":["web"]};
// both become Args. The text comes from clients and is bounded by MaxBytes.
package filter

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// MaxBytes bounds the text of one filters argument.
const MaxBytes = 64 << 10

// Args maps a term to its values. The nil map is the empty filter and matches
// everything.
type Args map[string][]string

// Parse reads the JSON of a filters argument; an empty text is the empty filter.
// Every failure is fault.Invalid.
func Parse(text string) (Args, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > MaxBytes {
		return nil, fault.New(fault.Invalid, "invalid filter: %d bytes are more than the limit of %d", len(text), MaxBytes)
	}
	var sets map[string]map[string]bool
	if err := json.Unmarshal([]byte(text), &sets); err == nil {
		args := make(Args, len(sets))
		for term, values := range sets {
			for v := range values {
				args[term] = append(args[term], v)
			}
			slices.Sort(args[term])
		}
		return args, nil
	}
	var lists map[string][]string
	if err := json.Unmarshal([]byte(text), &lists); err != nil {
		return nil, fault.New(fault.Invalid, `invalid filter: want a JSON object such as {"name":["web"]}`)
	}
	for term := range lists {
		slices.Sort(lists[term])
		lists[term] = slices.Compact(lists[term])
	}
	return lists, nil
}

// Validate refuses every term that is not in accepted.
func (a Args) Validate(accepted ...string) error {
	for _, term := range a.terms() {
		if !slices.Contains(accepted, term) {
			return fault.New(fault.Invalid, "invalid filter '%s'", term)
		}
	}
	return nil
}

func (a Args) terms() []string {
	terms := make([]string, 0, len(a))
	for t := range a {
		terms = append(terms, t)
	}
	slices.Sort(terms)
	return terms
}

// Has reports whether the term has at least one value.
func (a Args) Has(term string) bool { return len(a[term]) > 0 }

// Get returns the values of a term, sorted.
func (a Args) Get(term string) []string { return a[term] }

// Bool returns a boolean term, or def when it is absent. Contradicting or
// malformed values are fault.Invalid.
func (a Args) Bool(term string, def bool) (bool, error) {
	values := a[term]
	if len(values) == 0 {
		return def, nil
	}
	truth, falsity := false, false
	for _, v := range values {
		switch v {
		case "1", "true":
			truth = true
		case "0", "false":
			falsity = true
		default:
			return false, fault.New(fault.Invalid, "invalid filter '%s=%s': want true or false", term, v)
		}
	}
	if truth && falsity {
		return false, fault.New(fault.Invalid, "invalid filter '%s=[true false]': want one value", term)
	}
	return truth, nil
}

// Exact reports whether s equals a value of the term, or the term is absent.
func (a Args) Exact(term, s string) bool {
	return len(a[term]) == 0 || slices.Contains(a[term], s)
}

// Prefix reports whether s starts with a value of the term, or the term is absent.
func (a Args) Prefix(term, s string) bool {
	values := a[term]
	return len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(s, v) })
}

// Match reports whether s equals a value of the term or matches it as a regular
// expression, or the term is absent. Go's regular expressions run in linear time.
func (a Args) Match(term, s string) bool {
	if a.Exact(term, s) {
		return true
	}
	for _, v := range a[term] {
		if ok, err := regexp.MatchString(v, s); err == nil && ok {
			return true
		}
	}
	return false
}

// Labels reports whether labels satisfy all values of the term, each "key" or
// "key=value", or the term is absent.
func (a Args) Labels(term string, labels map[string]string) bool {
	for _, v := range a[term] {
		key, want, exact := strings.Cut(v, "=")
		got, ok := labels[key]
		if !ok || exact && got != want {
			return false
		}
	}
	return true
}
