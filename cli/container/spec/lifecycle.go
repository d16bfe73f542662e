package spec

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// lifecycle: when the container stops, restarts and disappears.
type lifecycle struct {
	autoRemove  bool
	restart     string
	stopSignal  string
	stopTimeout int
}

func (l *lifecycle) register(fs *pflag.FlagSet) {
	fs.BoolVar(&l.autoRemove, "rm", false, "Remove the container and its anonymous volumes when it ends")
	fs.StringVar(&l.restart, "restart", "no", "When to restart: no, always, unless-stopped, on-failure[:MAX]")
	fs.StringVar(&l.stopSignal, "stop-signal", "", "Signal that stops the container")
	fs.IntVar(&l.stopTimeout, "stop-timeout", 0, "Seconds to wait before the container is killed")
}

func (l *lifecycle) apply(r *Request, set func(string) bool) error {
	policy, err := value.RestartPolicy(l.restart)
	if err != nil {
		return err
	}
	if l.autoRemove && !policy.IsNone() {
		return errors.New("conflicting options: cannot specify both --restart and --rm")
	}
	r.Host.RestartPolicy, r.Host.AutoRemove = policy, l.autoRemove
	r.Config.StopSignal = l.stopSignal
	if set("stop-timeout") {
		r.Config.StopTimeout = &l.stopTimeout
	}
	return nil
}
