package network

import (
	"net"
	"net/netip"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewConnect makes `network connect`.
func NewConnect(a *app.App) *cobra.Command {
	var ip, ip6 net.IP
	var linkLocal []net.IP
	var links value.List
	es := network.EndpointSettings{}
	var options []string
	cmd := named(&cobra.Command{
		Use:               "connect [OPTIONS] NETWORK CONTAINER",
		Short:             "Connect a container to a network",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.Networks(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := &network.EndpointIPAMConfig{IPv4Address: address(ip), IPv6Address: address(ip6)}
			for _, l := range linkLocal {
				c.LinkLocalIPs = append(c.LinkLocalIPs, address(l))
			}
			if c.IPv4Address.IsValid() || c.IPv6Address.IsValid() || c.LinkLocalIPs != nil {
				es.IPAMConfig = c
			}
			es.Links = links.Values
			if len(options) > 0 {
				es.DriverOpts = value.KeyValues(options)
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			_, err = conn.NetworkConnect(cmd.Context(), args[0], client.NetworkConnectOptions{Container: args[1], EndpointConfig: &es})
			return err
		},
	}, "network connect")
	fs := cmd.Flags()
	fs.IPVar(&ip, "ip", nil, "IPv4 address")
	fs.IPVar(&ip6, "ip6", nil, "IPv6 address")
	fs.StringSliceVar(&es.Aliases, "alias", nil, "Add a name for the container within the network")
	fs.Var(&links, "link", "Add a name for another container (NAME[:ALIAS])")
	fs.IPSliceVar(&linkLocal, "link-local-ip", nil, "Add a link-local address")
	fs.StringSliceVar(&options, "driver-opt", nil, "Option of the driver (NAME=VALUE)")
	fs.IntVar(&es.GwPriority, "gw-priority", 0, "The network with the highest is the way out")
	return cmd
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// NewDisconnect makes `network disconnect`.
func NewDisconnect(a *app.App) *cobra.Command {
	var force bool
	cmd := named(&cobra.Command{
		Use:               "disconnect [OPTIONS] NETWORK CONTAINER",
		Short:             "Disconnect a container from a network",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.Networks(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			_, err = conn.NetworkDisconnect(cmd.Context(), args[0], client.NetworkDisconnectOptions{Container: args[1], Force: force})
			return err
		},
	}, "network disconnect")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Forget the container's place even if the network is gone")
	return cmd
}
