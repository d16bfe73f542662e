package client

import (
	"encoding/json"
	"net/url"
)

// Filters are the values of each filter term.
type Filters map[string]map[string]bool

// Add adds values to a term and returns f.
func (f Filters) Add(term string, values ...string) Filters {
	if f[term] == nil {
		f[term] = map[string]bool{}
	}
	for _, v := range values {
		f[term][v] = true
	}
	return f
}

// query makes the parameters of a route that can be filtered.
func (f Filters) query() url.Values {
	q := url.Values{}
	if len(f) == 0 {
		return q
	}
	// Maps of strings and bools always encode.
	text, _ := json.Marshal(f)
	q.Set("filters", string(text))
	return q
}

// flag sets key to 1 where the option is on.
func flag(q url.Values, key string, on bool) {
	if on {
		q.Set(key, "1")
	}
}

// text sets key where there is a value.
func text(q url.Values, key, value string) {
	if value != "" {
		q.Set(key, value)
	}
}
