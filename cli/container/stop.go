package container

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/container/targets"
)

// stopFlags are shared by `stop` and `restart`.
type stopFlags struct {
	signal  string
	timeout int
	set     *pflag.FlagSet
}

func (o *stopFlags) register(fs *pflag.FlagSet) {
	o.set = fs
	fs.StringVarP(&o.signal, "signal", "s", "", "Signal to send")
	fs.IntVarP(&o.timeout, "timeout", "t", 0, "Seconds to wait before killing the container")
	fs.IntVar(&o.timeout, "time", 0, "Seconds to wait before killing the container")
	// Registered just above, so the call cannot fail.
	_ = fs.MarkDeprecated("time", "use --timeout instead")
}

// wait is the time-out, if one was given: the container has its own.
func (o *stopFlags) wait() (*int, error) {
	switch {
	case o.set.Changed("time") && o.set.Changed("timeout"):
		return nil, errors.New("conflicting options: cannot specify both --timeout and --time")
	case o.set.Changed("time") || o.set.Changed("timeout"):
		return &o.timeout, nil
	}
	return nil, nil
}

// NewStop makes `stop`.
func NewStop(a *app.App) *cobra.Command {
	var o stopFlags
	var which targets.Targets
	cmd := named(&cobra.Command{
		Use:               "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop one or more running containers",
		Args:              which.Args,
		ValidArgsFunction: complete.Containers(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			timeout, err := o.wait()
			if err != nil {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			if args, err = which.Names(cmd.Context(), conn, args, true); err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error {
				_, err := conn.ContainerStop(cmd.Context(), name, client.ContainerStopOptions{Signal: o.signal, Timeout: timeout})
				return err
			})
		},
	}, "container stop, stop")
	o.register(cmd.Flags())
	which.Register(cmd.Flags(), "Every running container")
	return cmd
}
