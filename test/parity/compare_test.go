package parity

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// missing stands for a key or an element that one side lacks.
type missing struct{}

func (missing) String() string { return "nothing" }

// compare reports every difference of two decoded JSON answers that no row of
// exceptions excuses.
func (p *pair) compare(t *testing.T, kind, what string, ours, theirs any) {
	t.Helper()
	for _, d := range p.differences(kind, nil, ours, theirs) {
		// The same difference in the next version or container is said once.
		line := kind + strings.Join(d.path, ".") + show(d.ours) + show(d.theirs)
		if !p.said[line] {
			p.said[line] = true
			t.Errorf("%s: %s: %s has %s, %s has %s", what, strings.Join(d.path, "."), p.ours.name, show(d.ours), p.theirs.name, show(d.theirs))
		}
	}
}

func show(v any) string {
	if _, ok := v.(string); ok {
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%v", v)
}

type difference struct {
	path         []string
	ours, theirs any
}

// differences walks both answers to what no row excuses. Objects are compared
// by key, lists by place.
func (p *pair) differences(kind string, path []string, ours, theirs any) (found []difference) {
	if reflect.DeepEqual(ours, theirs) || p.excused(kind, difference{path, ours, theirs}) {
		return nil
	}
	at := func(key string) []string { return append(append([]string{}, path...), key) }
	if a, ok := ours.(map[string]any); ok {
		if b, ok := theirs.(map[string]any); ok {
			for _, key := range keys(a, b) {
				found = append(found, p.differences(kind, at(key), lookup(a, key), lookup(b, key))...)
			}
			return found
		}
	}
	if a, ok := ours.([]any); ok {
		if b, ok := theirs.([]any); ok {
			if len(path) > 0 {
				sortUnordered(path[len(path)-1], a, b)
			}
			for i := range max(len(a), len(b)) {
				var x, y any = missing{}, missing{}
				if i < len(a) {
					x = a[i]
				}
				if i < len(b) {
					y = b[i]
				}
				found = append(found, p.differences(kind, at(strconv.Itoa(i)), x, y)...)
			}
			return found
		}
	}
	return []difference{{path, ours, theirs}}
}

// sortUnordered gives both sides one order where theirs, or the
// client's, is that of a Go map.
func sortUnordered(key string, lists ...[]any) {
	by := map[string][]string{"Mounts": {"Destination"}, "Ports": {"PrivatePort", "Type", "IP"}, "Binds": {}, "Env": {}}[key]
	for _, list := range lists {
		if by == nil {
			return
		}
		slices.SortFunc(list, func(a, b any) int {
			x, _ := a.(map[string]any)
			y, _ := b.(map[string]any)
			for _, k := range by {
				if c := strings.Compare(fmt.Sprint(x[k]), fmt.Sprint(y[k])); c != 0 {
					return c
				}
			}
			return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
		})
	}
}

func keys(a, b map[string]any) []string {
	all := make([]string, 0, len(a))
	for key := range a {
		all = append(all, key)
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			all = append(all, key)
		}
	}
	sort.Strings(all)
	return all
}

func lookup(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return missing{}
}

// excused tells whether a row of exceptions allows a difference, and notes it.
func (p *pair) excused(kind string, d difference) bool {
	for i, e := range exceptions {
		if (e.kind == kind || e.kind == "" || kind == "bare "+e.kind) && match(strings.Split(e.path, "."), d.path) && e.allow(d.ours, d.theirs) {
			p.used[i] = true
			return true
		}
	}
	return false
}

// match compares a path with a pattern, in which a key may end in *.
func match(pattern, path []string) bool {
	if len(pattern) != len(path) {
		return false
	}
	for i := range pattern {
		prefix, open := strings.CutSuffix(pattern[i], "*")
		if pattern[i] != path[i] && (!open || !strings.HasPrefix(path[i], prefix)) {
			return false
		}
	}
	return true
}

// reportUnused fails for rows that excused nothing: they would hide a bug later.
func (p *pair) reportUnused(t *testing.T) {
	for i, e := range exceptions {
		if !p.used[i] && !e.depends {
			t.Errorf("the exception %s %s excuses nothing: remove it", e.kind, e.path)
		}
	}
}
