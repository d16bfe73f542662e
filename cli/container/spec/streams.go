package spec

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// streams: which of the standard streams are attached.
type streams struct {
	attach      value.List
	interactive bool
	tty         bool
}

func (s *streams) register(fs *pflag.FlagSet) {
	s.attach = value.NewList(value.CheckAttach)
	fs.VarP(&s.attach, "attach", "a", "Attach to STDIN, STDOUT or STDERR")
	fs.BoolVarP(&s.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	fs.BoolVarP(&s.tty, "tty", "t", false, "Give the process a terminal")
}

func (s *streams) apply(r *Request, _ func(string) bool) error {
	c := r.Config
	c.Tty, c.OpenStdin = s.tty, s.interactive
	if len(s.attach.Values) == 0 {
		c.AttachStdout, c.AttachStderr, c.AttachStdin = true, true, s.interactive
	} else {
		c.AttachStdin = slices.Contains(s.attach.Values, "stdin")
		c.AttachStdout = slices.Contains(s.attach.Values, "stdout")
		c.AttachStderr = slices.Contains(s.attach.Values, "stderr")
	}
	// The process must see the end of its input when the client is gone.
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	return nil
}
