package compat

import (
	"fmt"
	"strconv"
	"strings"
)

// Request is one line of routes.txt.
type Request struct {
	Method, Path string
	Status       int    // that ours must answer
	Upgrade      string // the protocol asked for: "", "upgrade" or "websocket"
	Body         string // JSON, or @NAME of a file
}

// ParseRequest reads METHOD PATH STATUS [upgrade|websocket] [BODY].
func ParseRequest(text string) (r Request, err error) {
	words := strings.SplitN(text, " ", 4)
	if len(words) < 3 {
		return r, fmt.Errorf("%q: want METHOD PATH STATUS", text)
	}
	r.Method, r.Path = words[0], words[1]
	if r.Status, err = strconv.Atoi(words[2]); err != nil {
		return r, fmt.Errorf("%q: %w", text, err)
	}
	if len(words) == 4 {
		r.Body = words[3]
	}
	for _, u := range []string{"upgrade", "websocket"} {
		if rest, ok := strings.CutPrefix(r.Body, u); ok {
			r.Upgrade, r.Body = u, strings.TrimSpace(rest)
		}
	}
	return r, nil
}
