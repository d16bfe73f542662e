package value

import (
	"errors"
	"strings"

	"github.com/sampan-containers/sampan/cli/client"
)

// Filters collects --filter KEY=VALUE.
type Filters struct{ Values client.Filters }

// Set implements pflag.Value.
func (f *Filters) Set(v string) error {
	if v == "" {
		return nil
	}
	key, val, ok := strings.Cut(v, "=")
	if !ok {
		return errors.New("invalid argument \"" + v + "\": bad format of filter (expected name=value)")
	}
	if f.Values == nil {
		f.Values = client.Filters{}
	}
	f.Values.Add(strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(val))
	return nil
}

func (f *Filters) String() string { return "" }

// Type implements pflag.Value.
func (*Filters) Type() string { return "filter" }
