package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewPort makes `port`.
func NewPort(a *app.App) *cobra.Command {
	cmd := named(&cobra.Command{
		Use:               "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short:             "List the published ports of a container",
		Args:              app.RangeArgs(1, 2),
		ValidArgsFunction: complete.FirstContainer(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			private := ""
			if len(args) > 1 {
				private = args[1]
			}
			return port(cmd.Context(), a, args[0], private)
		},
	}, "container port, port")
	cmd.AddCommand(newPortAdd(a), newPortRm(a))
	return cmd
}

func port(ctx context.Context, a *app.App, name, private string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	got, err := conn.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	if got.Container.NetworkSettings == nil {
		return errors.New("the daemon's answer lacks the container's network")
	}
	ports := got.Container.NetworkSettings.Ports
	if private != "" {
		p, err := network.ParsePort(private)
		if err != nil {
			return err
		}
		bindings := ports[p]
		if len(bindings) == 0 {
			return fmt.Errorf("no public port '%s' published for %s", private, name)
		}
		for _, b := range bindings {
			a.Println(hostPort(b))
		}
		return nil
	}
	var keys []network.Port
	for p := range ports {
		keys = append(keys, p)
	}
	slices.SortFunc(keys, func(x, y network.Port) int {
		if c := strings.Compare(string(x.Proto()), string(y.Proto())); x.Num() == y.Num() {
			return c
		}
		return int(x.Num()) - int(y.Num())
	})
	for _, p := range keys {
		for _, b := range ports[p] {
			a.Println(fmt.Sprintf("%s -> %s", p, hostPort(b)))
		}
	}
	return nil
}

func hostPort(b network.PortBinding) string {
	ip := ""
	if b.HostIP.IsValid() {
		ip = b.HostIP.String()
	}
	return net.JoinHostPort(ip, b.HostPort)
}
