package terminal

import (
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"tab\tline\n":      "tab\tline\n",
		"héllo 世界 🙂":       "héllo 世界 🙂",
		"\x1b[31mred":      `\x1b[31mred`,
		"\r\x08\x7f\x00":   `\x0d\x08\x7f\x00`,
		"\u009b31m":        `\u009b31m`,
		"\x9b31m":          `\x9b31m`,
		"a\u202eb\u2066c":  `a\u202eb\u2066c`,
		"\xff\xfe":         `\xff\xfe`,
		"\x1b]0;title\x07": `\x1b]0;title\x07`,
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzClean: what is left never holds a byte that a terminal acts upon, and
// cleaning is stable under any division into writes.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "a\x1b[2J", "世\x9b", "\xe4\xb8", "\u202e"} {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		clean := Clean(s)
		for _, r := range clean {
			if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("Clean(%q) = %q holds %U", s, clean, r)
			}
		}
		var b strings.Builder
		c := &cleaner{w: &b}
		cut = min(max(cut, 0), len(s))
		for _, part := range []string{s[:cut], s[cut:]} {
			if n, err := c.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		if got := b.String() + Clean(string(c.tail)); got != clean {
			t.Fatalf("in two writes %q, in one %q", got, clean)
		}
	})
}

func TestCleanDeep(t *testing.T) {
	type inner struct {
		Names  []string
		Labels map[string]string
		Ptr    *string
		n      int
	}
	s := "p\x1b"
	v := []inner{{Names: []string{"a\x1b"}, Labels: map[string]string{"k\x1b": "v\x1b", "ok": "ok"}, Ptr: &s, n: 1}}
	CleanDeep(&v)
	if v[0].Names[0] != `a\x1b` || v[0].Labels[`k\x1b`] != `v\x1b` || len(v[0].Labels) != 2 || *v[0].Ptr != `p\x1b` {
		t.Errorf("left %q %q %q", v[0].Names, v[0].Labels, *v[0].Ptr)
	}
}

func TestDetachable(t *testing.T) {
	for _, c := range []struct {
		name, keys, typed, passed string
		detached                  bool
	}{
		{"default", "", "ls\x10\x11more", "ls", true},
		{"half of the keys", "", "a\x10b", "a\x10b", false},
		{"own keys", "ctrl-x,y", "a\x18yb", "a", true},
		{"default is off with own keys", "ctrl-x,y", "a\x10\x11", "a\x10\x11", false},
		{"unusable falls back", "nonsense", "a\x10\x11", "a", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Detachable(strings.NewReader(c.typed), c.keys)
			var got strings.Builder
			var err error
			buf := make([]byte, 1)
			for err == nil {
				var n int
				n, err = r.Read(buf)
				got.Write(buf[:n])
			}
			if got.String() != c.passed || Detached(err) != c.detached {
				t.Errorf("passed %q, detached %v (%v)", got.String(), Detached(err), err)
			}
		})
	}
	if CheckDetachKeys("nonsense,x") == nil || CheckDetachKeys("ctrl-a,b") != nil {
		t.Error("CheckDetachKeys does not tell good from bad")
	}
}
