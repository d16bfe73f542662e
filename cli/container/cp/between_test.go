package cp

import "testing"

func TestRenamed(t *testing.T) {
	for _, tt := range []struct{ entry, name, to, want string }{
		{"f", "f", "g", "g"},
		{"d/", "d", "e", "e/"},
		{"d/x/y", "d", "e", "e/x/y"},
		{"d/x", "d", "d", "d/x"},
		{"./", ".", ".", "./"},
		{"./x", ".", ".", "x"},
		{"./x/", ".", "new", "new/x/"},
		{"dd/x", "d", "e", ""},
		{"../d/x", "d", "e", ""},
		{"d/../../x", "d", "e", ""},
	} {
		got, err := renamed(tt.entry, tt.name, tt.to)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q as %q in place of %q: %q, %v; want %q", tt.entry, tt.to, tt.name, got, err, tt.want)
		}
	}
}
