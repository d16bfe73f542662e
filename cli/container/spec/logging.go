package spec

import (
	"errors"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// logging: where the output goes.
type logging struct {
	driver  string
	options value.List
}

func newLogging() *logging { return &logging{} }

func (l *logging) register(fs *pflag.FlagSet) {
	fs.StringVar(&l.driver, "log-driver", "", "Logging driver")
	fs.Var(&l.options, "log-opt", "Option for the logging driver (KEY=VALUE)")
}

func (l *logging) apply(r *Request, _ func(string) bool) error {
	if l.driver == "none" && len(l.options.Values) > 0 {
		return errors.New("invalid logging opts for driver none")
	}
	r.Host.LogConfig = container.LogConfig{Type: l.driver, Config: value.KeyValues(l.options.Values)}
	return nil
}
