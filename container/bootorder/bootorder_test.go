package bootorder

import (
	"errors"
	"slices"
	"testing"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/fault"
)

func TestParseAfter(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "db": {"db"}, "db, cache:healthy": {"db", "cache:healthy"},
	} {
		if got, err := Parse(map[string]string{Label: text}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{",", "a b", "../x", "db:sick"} {
		if _, err := Parse(map[string]string{Label: text}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestInCircle(t *testing.T) {
	a, b, c, d := &index.Entry{ID: "a"}, &index.Entry{ID: "b"}, &index.Entry{ID: "c"}, &index.Entry{ID: "d"}
	order := map[*index.Entry][]dependency{a: {{e: b}}, b: {{e: c}}, c: {{e: b}}, d: {{e: a}}}
	for _, tt := range []struct {
		e    *index.Entry
		want bool
	}{{a, false}, {b, true}, {c, true}, {d, false}} {
		if got := (&boot{}).inCircle(tt.e, order); got != tt.want {
			t.Errorf("%s: %v", tt.e.ID, got)
		}
	}
}
