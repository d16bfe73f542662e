package server

import (
	"slices"
	"strings"
)

// Handler answers one request. An error that it returns before it has written
// anything becomes the response, by the status table.
type Handler func(*Call) error

// route is one method and path. A path has static parts and up to two
// variables; a variable takes one path segment, or, for the nouns in
// slashNouns, any number of them (image references contain slashes).
type route struct {
	method string
	parts  []string // static, variable, static, …: odd ones are variable names
	slash  bool
	handle Handler
}

// slashNouns are the first path segments below which a name may contain slashes.
var slashNouns = []string{"images", "distribution", "plugins", "volumes"}

// Router holds the routes by their first path segment. It is filled before the
// server starts and only read afterwards.
type Router struct{ byNoun map[string][]route }

// Handle registers "METHOD /path/{var}/rest". It panics on a malformed or a
// doubled pattern: both are mistakes in the program.
func (rt *Router) Handle(pattern string, h Handler) {
	r, noun := parsePattern(pattern)
	if rt.find(r, noun) {
		panic("server: route registered twice: " + pattern)
	}
	r.handle = h
	if rt.byNoun == nil {
		rt.byNoun = map[string][]route{}
	}
	routes := append(rt.byNoun[noun], r)
	// The most specific pattern must be tried first: /images/get before
	// /images/{name}/get before /images/{name}.
	slices.SortStableFunc(routes, func(a, b route) int {
		if d := len(a.parts) - len(b.parts); d != 0 && (len(a.parts) == 1 || len(b.parts) == 1) {
			return d
		}
		return staticLen(b.parts) - staticLen(a.parts)
	})
	rt.byNoun[noun] = routes
}

func parsePattern(pattern string) (r route, noun string) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || !strings.HasPrefix(path, "/") || strings.Count(path, "{") > 2 {
		panic("server: malformed route " + pattern)
	}
	noun = firstSegment(path)
	r = route{method: method, slash: slices.Contains(slashNouns, noun)}
	for {
		before, rest, more := strings.Cut(path, "{")
		r.parts = append(r.parts, before)
		if !more {
			return r, noun
		}
		name, after, _ := strings.Cut(rest, "}")
		r.parts = append(r.parts, name)
		path = after
	}
}

func (rt *Router) find(r route, noun string) bool {
	return slices.ContainsFunc(rt.byNoun[noun], func(old route) bool {
		return old.method == r.method && slices.Equal(staticParts(old.parts), staticParts(r.parts))
	})
}

// has reports whether a pattern, up to the names of its variables, is registered.
func (rt *Router) has(pattern string) bool { return rt.find(parsePattern(pattern)) }

// match finds the route for a path without version prefix, and the values of
// its variables in order.
func (rt *Router) match(method, path string) (*route, [2]string) {
	routes := rt.byNoun[firstSegment(path)]
	for i := range routes {
		if routes[i].method != method {
			continue
		}
		if vars, ok := routes[i].match(path); ok {
			return &routes[i], vars
		}
	}
	return nil, [2]string{}
}

func (r *route) match(path string) (vars [2]string, ok bool) {
	if len(r.parts) == 1 {
		return vars, path == r.parts[0]
	}
	rest, ok := strings.CutPrefix(path, r.parts[0])
	if !ok {
		return vars, false
	}
	for i := 1; i < len(r.parts); i += 2 {
		tail := r.parts[i+1]
		var value string
		if i+2 == len(r.parts) { // the last variable reaches to the tail at the end
			value, ok = strings.CutSuffix(rest, tail)
		} else {
			value, rest, ok = strings.Cut(rest, tail)
		}
		if !ok || value == "" || !r.slash && strings.Contains(value, "/") {
			return vars, false
		}
		vars[i/2] = value
	}
	return vars, true
}

func firstSegment(path string) string {
	path = strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return path
}

func staticParts(parts []string) []string {
	var s []string
	for i := 0; i < len(parts); i += 2 {
		s = append(s, parts[i])
	}
	return s
}

func staticLen(parts []string) (n int) {
	for _, s := range staticParts(parts) {
		n += len(s)
	}
	return n
}
