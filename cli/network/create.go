package network

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

type createOptions struct {
	client.NetworkCreateOptions
	ipv4, ipv6      bool
	ipamDriver      string
	subnets         []string
	gateways        []net.IP
	aux, opts, ipam value.Map
	labels          value.List
	rangeNets       []net.IPNet
}

// NewCreate makes `network create`.
func NewCreate(a *app.App) *cobra.Command {
	o := createOptions{aux: value.NewMap(nil), opts: value.NewMap(nil), ipam: value.NewMap(nil)}
	cmd := named(&cobra.Command{
		Use:               "create [OPTIONS] NETWORK",
		Short:             "Create a network",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("ipv4") {
				o.EnableIPv4 = &o.ipv4
			}
			if cmd.Flags().Changed("ipv6") {
				o.EnableIPv6 = &o.ipv6
			}
			o.Options, o.Labels = o.opts.Values, value.KeyValues(o.labels.Values)
			var err error
			if o.IPAM, err = o.ipamConfig(); err != nil {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.NetworkCreate(cmd.Context(), args[0], o.NetworkCreateOptions)
			if err != nil {
				return err
			}
			for _, w := range got.Warning {
				fmt.Fprintln(a.Err.Text(), "WARNING: "+w)
			}
			a.Println(got.ID)
			return nil
		},
	}, "network create")
	fs := cmd.Flags()
	fs.StringVarP(&o.Driver, "driver", "d", "bridge", "Driver (bridge, macvlan, ipvlan)")
	fs.VarP(&o.opts, "opt", "o", "Option of the driver (NAME=VALUE)")
	fs.Var(&o.labels, "label", "Label of the network (NAME[=VALUE])")
	fs.BoolVar(&o.Internal, "internal", false, "Give the network no way out")
	fs.BoolVar(&o.ipv4, "ipv4", true, "Give containers IPv4 addresses")
	fs.BoolVar(&o.ipv6, "ipv6", false, "Give containers IPv6 addresses")
	fs.BoolVar(&o.Attachable, "attachable", false, "Let containers be connected by hand (networks of a cluster)")
	fs.BoolVar(&o.Ingress, "ingress", false, "Make the network of a cluster's published ports")
	fs.StringVar(&o.Scope, "scope", "", "Scope of the network (local)")
	fs.BoolVar(&o.ConfigOnly, "config-only", false, "Make a configuration for other networks")
	fs.StringVar(&o.ConfigFrom, "config-from", "", "Take the configuration from another network")
	fs.StringVar(&o.ipamDriver, "ipam-driver", "default", "Driver of the addresses")
	fs.Var(&o.ipam, "ipam-opt", "Option of the addresses' driver (NAME=VALUE)")
	fs.StringSliceVar(&o.subnets, "subnet", nil, "Subnet, such as 10.8.0.0/16 or fd00:8::/64")
	fs.IPNetSliceVar(&o.rangeNets, "ip-range", nil, "Part of the subnet that containers get addresses from")
	fs.IPSliceVar(&o.gateways, "gateway", nil, "Gateway of the subnet")
	fs.Var(&o.aux, "aux-address", "Address that no container gets (NAME=ADDRESS)")
	return cmd
}

// ipamConfig sorts ranges, gateways and addresses to their subnets.
func (o *createOptions) ipamConfig() (*network.IPAM, error) {
	out := &network.IPAM{Driver: o.ipamDriver, Options: o.ipam.Values}
	for _, text := range o.subnets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("invalid subnet %s: want a network such as 10.8.0.0/16", text)
		}
		out.Config = append(out.Config, network.IPAMConfig{Subnet: p})
	}
	of := func(a netip.Addr, what string) (*network.IPAMConfig, error) {
		for i := range out.Config {
			if out.Config[i].Subnet.Masked().Contains(a) {
				return &out.Config[i], nil
			}
		}
		return nil, fmt.Errorf("no matching subnet for %s", what)
	}
	for _, n := range o.rangeNets {
		ones, _ := n.Mask.Size()
		a, _ := netip.AddrFromSlice(n.IP)
		p := netip.PrefixFrom(a.Unmap(), ones)
		c, err := of(p.Addr(), "range "+p.String())
		if err != nil {
			return nil, err
		}
		if c.IPRange.IsValid() {
			return nil, fmt.Errorf("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", p, c.IPRange, c.Subnet)
		}
		c.IPRange = p
	}
	for _, ip := range o.gateways {
		a, _ := netip.AddrFromSlice(ip)
		a = a.Unmap()
		c, err := of(a, "gateway "+a.String())
		if err != nil {
			return nil, err
		}
		if c.Gateway.IsValid() {
			return nil, fmt.Errorf("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", a, c.Gateway, c.Subnet)
		}
		c.Gateway = a
	}
	for name, text := range o.aux.Values {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("invalid auxiliary address %s=%s: want an IP address", name, text)
		}
		c, err := of(a, "aux-address "+a.String())
		if err != nil {
			return nil, err
		}
		if c.AuxAddress == nil {
			c.AuxAddress = map[string]netip.Addr{}
		}
		c.AuxAddress[name] = a
	}
	return out, nil
}
