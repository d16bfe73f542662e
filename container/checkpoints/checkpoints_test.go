package checkpoints

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"ab", "C0", "a_b.c-d", strings.Repeat("x", maxName)} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a", ".", "..", "../x", "a/b", "-a", ".hidden", "a b", "a\x00", "ä", strings.Repeat("x", maxName+1)} {
		if err := checkName(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}
