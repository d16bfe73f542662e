package detach

import "testing"

func TestFinder(t *testing.T) {
	for _, tc := range []struct {
		name, keys string
		in         []string
		want       string
		detached   bool
		held       string
	}{
		{"no keys", "", []string{"a\x10\x11b"}, "a\x10\x11b", false, ""},
		{"at once", "\x10\x11", []string{"ab\x10\x11cd"}, "ab", true, ""},
		{"in two reads", "\x10\x11", []string{"ab\x10", "\x11cd"}, "ab", true, ""},
		{"first key alone is held", "\x10\x11", []string{"a\x10"}, "a", false, "\x10"},
		{"first key, then another", "\x10\x11", []string{"a\x10", "b"}, "a\x10b", false, ""},
		{"first key twice", "\x10\x11", []string{"\x10\x10\x11"}, "\x10", true, ""},
		{"overlap", "aab", []string{"aaab"}, "a", true, ""},
		{"longer overlap", "abac", []string{"ababac"}, "ab", true, ""},
		{"one key", "q", []string{"abqd"}, "ab", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := Finder{Keys: []byte(tc.keys)}
			var got []byte
			detached := false
			for _, in := range tc.in {
				if got, detached = d.Feed(got, []byte(in)); detached {
					break
				}
			}
			if string(got) != tc.want || detached != tc.detached {
				t.Errorf("got %q, %v, want %q, %v", got, detached, tc.want, tc.detached)
			}
			if !detached {
				if held := d.Flush(nil); string(held) != tc.held {
					t.Errorf("held %q, want %q", held, tc.held)
				}
			}
		})
	}
}

// Whatever the input, nothing of it is lost or doubled before the sequence.
func FuzzFinder(f *testing.F) {
	f.Add([]byte("\x10\x11"), []byte("abc\x10\x10\x11x"), uint8(3))
	f.Add([]byte("aab"), []byte("aaaaab"), uint8(1))
	f.Fuzz(func(t *testing.T, keys, in []byte, step uint8) {
		d := Finder{Keys: keys}
		var got []byte
		detached := false
		n := int(step%16) + 1
		for rest := in; len(rest) > 0 && !detached; {
			part := rest[:min(n, len(rest))]
			rest = rest[len(part):]
			got, detached = d.Feed(got, part)
		}
		if !detached {
			got = d.Flush(got)
		} else {
			got = append(got, keys...)
		}
		if detached && (len(got) > len(in) || string(in[:len(got)]) != string(got)) || !detached && string(got) != string(in) {
			t.Errorf("keys %q, input %q: got %q, detached %v", keys, in, got, detached)
		}
	})
}
