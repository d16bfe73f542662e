package privs

import (
	"fmt"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestEnvironment(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("V%d=x", i)
	}
	for _, c := range []struct {
		name      string
		env, want []string
	}{
		{"nothing", nil, []string{"HOME=/"}},
		{"a home of its own", []string{"A=b", "HOME=/x"}, []string{"A=b", "HOME=/x"}},
		{"an empty home", []string{"HOME=", "A=b"}, []string{"A=b", "HOME=/"}},
		{"the last home is empty", []string{"HOME=/x", "HOME="}, []string{"HOME=/"}},
		{"twice", []string{"ONE=two", "PATH=/bin", "ONE=", "HOME=/x"}, []string{"PATH=/bin", "ONE=", "HOME=/x"}},
		{"names that begin alike", []string{"AB=1", "A=2", "HOME=/x"}, []string{"AB=1", "A=2", "HOME=/x"}},
		{"many", slices.Concat(many, []string{"V0=y", "HOME=/x"}), slices.Concat(many[1:], []string{"V0=y", "HOME=/x"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.env)
			if got := Environment(&specs.Process{Env: c.env}, nil).Env; !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if !slices.Equal(before, c.env) {
				t.Error("the caller's list was changed")
			}
		})
	}
}
