// Package bridge is the driver of bridge networks: a Linux bridge on the host, a
// veth pair per container, and the rules of network/firewall. It makes no
// process. The link ends with the container's namespace, without anybody waiting
// for it; where the namespace lingers, the link is removed a moment later.
package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/firewall"
	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/network/netns"
)

const (
	// Alias marks the bridges that Sampan made, and so may change and remove.
	Alias = "sampan network"
	// interfaceName is the container's end of the link.
	interfaceName = "eth0"
	// linkGrace is how long a link may outlive its endpoint. Connections that
	// the other side does not finish keep a namespace, and with it the link and
	// the address, for minutes.
	linkGrace = time.Second
)

// Config describes one bridge.
type Config struct {
	Name       string
	Address    netip.Prefix // of the bridge in its network
	MTU        int
	ICC        bool
	Masquerade bool
	Forward    bool // switch net.ipv4.ip_forward on
	Log        *slog.Logger
}

// Bridge is a bridge network in the kernel.
type Bridge struct {
	cfg  Config
	host *netlink.Conn // in the namespace of the bridge
	fw   *firewall.Table

	mu      sync.Mutex
	index   int
	leaving map[string]*time.Timer // links that should be gone, by name
}

var _ driver.Driver = (*Bridge)(nil)

// Open makes the bridge, or adopts the one of that name, with the ports of the
// endpoints published.
func Open(ctx context.Context, cfg Config, endpoints []driver.Endpoint) (*Bridge, error) {
	host, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	b := &Bridge{cfg: cfg, host: host, leaving: map[string]*time.Timer{}}
	var ports []firewall.Mapping
	known := map[string]bool{}
	for _, ep := range endpoints {
		ports = append(ports, mappings(ep)...)
		known[ep.Link] = true
	}
	// The table first: it tells whether another daemon has this bridge, before
	// anything of that daemon is touched. Its rules match the bridge by name.
	b.fw, err = firewall.Open(firewall.Config{
		Bridge: cfg.Name, Subnet: cfg.Address.Masked(), ICC: cfg.ICC, Masquerade: cfg.Masquerade, Log: cfg.Log,
	}, ports)
	if err != nil {
		host.Close()
		return nil, err
	}
	err = b.setUp()
	if err == nil && b.fw.Owned() {
		err = b.sweep(known)
	}
	if err != nil {
		if len(endpoints) > 0 {
			b.fw.Close()
		} else {
			err = errors.Join(err, b.fw.Remove())
		}
		host.Close()
		return nil, err
	}
	return b, nil
}

// setUp brings the bridge into the wanted state, whatever is there.
func (b *Bridge) setUp() error {
	link, err := b.host.LinkByName(b.cfg.Name)
	if errors.Is(err, unix.ENODEV) {
		err = b.host.Do(netlink.CreateBridge(b.cfg.Name, randomMAC(), b.cfg.MTU), netlink.SetAlias(b.cfg.Name, Alias))
		if err == nil {
			link, err = b.host.LinkByName(b.cfg.Name)
		}
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("set up the bridge %s: %w", b.cfg.Name, err))
	}
	if link.Kind != "bridge" {
		return fault.New(fault.Conflict, "set up the bridge %s: there is a device of that name that is no bridge (choose another --bridge)", b.cfg.Name)
	}
	if err := b.setSysctls(); err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("set up the bridge %s: %w", b.cfg.Name, err))
	}
	var has bool
	var stale []netip.Prefix
	err = b.host.Addrs(func(a netlink.Addr) {
		switch {
		case a.Index != link.Index:
		case a.Prefix == b.cfg.Address:
			has = true
		case link.Alias == Alias:
			stale = append(stale, a.Prefix)
		}
	})
	var reqs []*netlink.Request
	for _, p := range stale {
		reqs = append(reqs, netlink.DelAddr(link.Index, p))
	}
	if !has {
		reqs = append(reqs, netlink.AddAddr(link.Index, b.cfg.Address))
	}
	if !link.Up() {
		reqs = append(reqs, netlink.SetUpIndex(link.Index))
	}
	if err == nil && len(reqs) > 0 {
		err = b.host.Do(reqs...)
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("set up the bridge %s: %w", b.cfg.Name, err))
	}
	b.mu.Lock()
	b.index = link.Index
	b.mu.Unlock()
	return nil
}

// setSysctls: route_localnet lets 127.0.0.1:port reach a container (the
// firewall's loopback chain keeps others from using it). IPv6 is off on the
// bridge, and router advertisements would be ignored even if somebody switched
// it on (CVE-2020-13401).
func (b *Bridge) setSysctls() error {
	v4, v6 := "/proc/sys/net/ipv4/conf/"+b.cfg.Name+"/", "/proc/sys/net/ipv6/conf/"+b.cfg.Name+"/"
	if err := netns.WriteSysctl(v4+"route_localnet", "1"); err != nil {
		return err
	}
	for _, name := range []string{"accept_ra", "disable_ipv6"} {
		value := map[string]string{"accept_ra": "0", "disable_ipv6": "1"}[name]
		if err := netns.WriteSysctl(v6+name, value); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	if b.cfg.Forward {
		return netns.WriteSysctl("/proc/sys/net/ipv4/ip_forward", "1")
	}
	return nil
}

// Gateway returns the bridge's address in its network.
func (b *Bridge) Gateway() netip.Prefix { return b.cfg.Address }

// Attach makes the link and configures the container's end.
func (b *Bridge) Attach(ctx context.Context, sb *netns.Sandbox, ep driver.Endpoint) error {
	err := b.makeLink(sb, ep)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		// Somebody removed the bridge. Make it again; running containers stay
		// cut off, as their links went with it.
		if err := b.setUp(); err != nil {
			return err
		}
		err = b.makeLink(sb, ep)
	}
	if err == nil {
		err = b.setPort(ep.Link, len(ep.Ports) > 0)
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("connect container %.12s to the bridge %s: %w", ep.ContainerID, b.cfg.Name, err))
	}
	link, err := sb.Conn.LinkByName(interfaceName)
	if err == nil {
		err = sb.Conn.Do(netlink.SetUpIndex(link.Index), netlink.AddAddr(link.Index, ep.IP), netlink.AddDefaultRoute(link.Index, ep.Gateway))
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("configure the network of container %.12s: %w", ep.ContainerID, err))
	}
	return nil
}

// makeLink creates the pair and makes the host's end a port of the bridge, all
// in one system call. The port gets no IPv6 address: it would answer on the
// link, and cost a route each.
func (b *Bridge) makeLink(sb *netns.Sandbox, ep driver.Endpoint) error {
	b.mu.Lock()
	index := b.index
	b.mu.Unlock()
	errs, err := b.host.DoEach(
		netlink.CreateVeth(netlink.Veth{Name: ep.Link, PeerName: interfaceName, PeerMAC: ep.MAC, PeerNS: int(sb.File.Fd()), MTU: b.cfg.MTU}),
		netlink.NoAddrGen(ep.Link),
		netlink.Enslave(ep.Link, index),
	)
	if err != nil {
		return err
	}
	if created, enslaved := errs[0], errs[2]; created != nil || enslaved == nil {
		return created
	}
	return errors.Join(errs[2], b.host.Do(netlink.DeleteLink(ep.Link)))
}

// setPort sets the options of the bridge port that are not the kernel's
// defaults. Hairpin lets a container reach itself through a published port when
// br_netfilter translates inside the bridge; isolation is --icc=false, which
// holds with and without br_netfilter.
func (b *Bridge) setPort(name string, published bool) error {
	if !published && b.cfg.ICC {
		return nil
	}
	link, err := b.host.LinkByName(name)
	if err != nil {
		return err
	}
	return b.host.Do(netlink.SetPort(link.Index, published, !b.cfg.ICC))
}

// Publish translates the endpoint's ports.
func (b *Bridge) Publish(_ context.Context, ep driver.Endpoint) error {
	return b.fw.Publish(mappings(ep))
}

// Detach ends the translation, and removes the link later if it is still there.
func (b *Bridge) Detach(_ context.Context, ep driver.Endpoint) error {
	if err := b.fw.Unpublish(mappings(ep)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, pending := b.leaving[ep.Link]; !pending {
		b.leaving[ep.Link] = time.AfterFunc(linkGrace, func() { b.dropLink(ep.Link) })
	}
	return nil
}

// dropLink removes a link that should be gone; that it is gone is no failure.
func (b *Bridge) dropLink(name string) {
	b.mu.Lock()
	delete(b.leaving, name)
	b.mu.Unlock()
	if err := b.host.Do(netlink.DeleteLink(name)); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, os.ErrClosed) {
		b.cfg.Log.Warn("the link of a container that ended is left", "link", name, "error", err)
	}
}

// sweep removes links on the bridge that no endpoint has: those of containers
// that ended while no daemon ran. It must not run while another daemon could
// have the bridge.
func (b *Bridge) sweep(known map[string]bool) error {
	var stale []string
	err := b.host.Links(func(l *netlink.Link) {
		if l.Master == b.index && l.Kind == "veth" && strings.HasPrefix(l.Name, driver.LinkPrefix) && !known[l.Name] {
			stale = append(stale, l.Name)
		}
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("set up the bridge %s: %w", b.cfg.Name, err))
	}
	for _, name := range stale {
		b.dropLink(name)
	}
	return nil
}

// stopTimers returns the links that were still to be removed.
func (b *Bridge) stopTimers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name, timer := range b.leaving {
		timer.Stop()
		names = append(names, name)
	}
	clear(b.leaving)
	return names
}

// Close leaves bridge and rules to the containers.
func (b *Bridge) Close() error {
	b.stopTimers()
	b.fw.Close()
	b.host.Close()
	return nil
}

// Remove takes the rules away, and the bridge if Sampan made it.
func (b *Bridge) Remove(context.Context) error {
	err := b.fw.Remove()
	for _, name := range b.stopTimers() {
		b.dropLink(name)
	}
	link, lookup := b.host.LinkByName(b.cfg.Name)
	if lookup == nil && link.Alias == Alias {
		err = errors.Join(err, b.host.Do(netlink.DeleteLink(b.cfg.Name)))
	}
	b.host.Close()
	return err
}

func mappings(ep driver.Endpoint) []firewall.Mapping {
	var ms []firewall.Mapping
	for _, p := range ep.Ports {
		proto := uint8(unix.IPPROTO_TCP)
		if p.Proto == "udp" {
			proto = unix.IPPROTO_UDP
		}
		ms = append(ms, firewall.Mapping{Proto: proto, HostIP: p.HostIP, HostPort: p.HostPort, To: netip.AddrPortFrom(ep.IP.Addr(), p.ContainerPort)})
	}
	return ms
}

// ValidName tells whether the kernel takes the name for a device.
func ValidName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) < unix.IFNAMSIZ &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == '%' || r > '~' })
}

func randomMAC() net.HardwareAddr {
	m := net.HardwareAddr{0x02, 0x42, 0, 0, 0, 0}
	rand.Read(m[2:])
	return m
}
