package container

import (
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// newPortAdd makes `port add`.
func newPortAdd(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "add CONTAINER [IP:][HOST_PORT:]PORT[/PROTO]...",
		Short:             "Publish more ports of a container, also while it runs",
		Args:              app.MinArgs(2),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, bindings, err := value.Ports(args[1:], nil)
			if err != nil {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return conn.ContainerPorts(cmd.Context(), args[0], client.ContainerPortsOptions{Add: bindings})
		},
	}, "container port add, port add")
}

// newPortRm makes `port rm`.
func newPortRm(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "rm CONTAINER [IP:][HOST_PORT:]PORT[/PROTO]...",
		Aliases:           []string{"remove"},
		Short:             "End published ports of a container, also while it runs",
		Args:              app.MinArgs(2),
		ValidArgsFunction: complete.FirstContainer(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			remove := network.PortMap{}
			for _, spec := range args[1:] {
				if !strings.Contains(spec, ":") {
					port, err := network.ParsePort(spec)
					if err != nil {
						return err
					}
					remove[port] = nil
					continue
				}
				_, bindings, err := value.Ports([]string{spec}, nil)
				if err != nil {
					return err
				}
				for port, list := range bindings {
					remove[port] = append(remove[port], list...)
				}
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return conn.ContainerPorts(cmd.Context(), args[0], client.ContainerPortsOptions{Remove: remove})
		},
	}, "container port rm, port rm")
}
