// Package bridge is the driver of bridge networks: a Linux bridge on the host, a
// veth pair per container, and the sets of network/firewall. It makes no
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
	"slices"
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
	// Alias marks the bridges that Sampan made, and so may change and remove. That
	// of a user-defined network's goes on with its daemon's table: see Sweep.
	Alias = "sampan network"
	// linkGrace is how long a link may outlive its endpoint. Connections that
	// the other side does not finish keep a namespace, and with it the link and
	// the address, for minutes.
	linkGrace = time.Second
)

// Config describes one bridge.
type Config struct {
	Name string
	// Addresses are those of the bridge in its networks; it has none in a
	// network whose gateway is another machine, or that is isolated.
	Addresses []netip.Prefix
	IPv6      bool
	Rules     firewall.Network
	Owner     string // the daemon's table, for a bridge that is made by a record alone; see Sweep
	MTU       int
	Forward   bool     // switch IP forwarding on
	Spares    *Remover // may have a bridge to take over; or nil
	Log       *slog.Logger
}

// Bridge is a bridge network in the kernel.
type Bridge struct {
	cfg  Config
	host *netlink.Conn // in the namespace of the bridge
	fw   *firewall.Table

	mu       sync.Mutex
	index    int
	fresh    bool                   // made by setUp: no link can be on it
	made     time.Time              // of the link, if this daemon made it
	settings string                 // of the link when it was made, see spare
	leaving  map[string]*time.Timer // links that should be gone, by name
}

var _ driver.Driver = (*Bridge)(nil)

// Open makes the bridge, or adopts the one of that name with the links of the
// endpoints. The table has its rules already.
func Open(cfg Config, fw *firewall.Table, endpoints []driver.Endpoint) (*Bridge, error) {
	host, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	b := &Bridge{cfg: cfg, host: host, fw: fw, leaving: map[string]*time.Timer{}}
	err = b.setUp()
	if err == nil && fw.Owned() && !b.fresh {
		known := map[string]bool{}
		for _, ep := range endpoints {
			known[ep.Link] = true
		}
		err = b.sweep(known)
	}
	if err != nil {
		if b.fresh {
			_ = host.Do(netlink.DeleteLink(cfg.Name))
		}
		host.Close()
		return nil, err
	}
	return b, nil
}

// Mappings are the ports of an endpoint as the table knows them.
func Mappings(ep driver.Endpoint) []firewall.Mapping {
	var ms []firewall.Mapping
	for _, p := range ep.Ports {
		to := ep.IP.Addr()
		if p.HostIP.Is6() {
			to = ep.IP6.Addr()
		}
		m := firewall.Mapping{Proto: firewall.Protocol(p.Proto), HostIP: p.HostIP, HostPort: p.HostPort}
		if p.HostIP.IsValid() {
			m.To = netip.AddrPortFrom(to, p.ContainerPort)
			ms = append(ms, m)
			continue
		}
		for _, a := range []netip.Addr{ep.IP.Addr(), ep.IP6.Addr()} {
			if a.IsValid() {
				m.To = netip.AddrPortFrom(a, p.ContainerPort)
				ms = append(ms, m)
			}
		}
	}
	return ms
}

// setUp brings the bridge into the wanted state, whatever is there.
func (b *Bridge) setUp() error {
	link, err := b.host.LinkByName(b.cfg.Name)
	made := errors.Is(err, unix.ENODEV)
	if made {
		if err = b.makeBridge(); err == nil {
			link, err = b.host.LinkByName(b.cfg.Name)
		}
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("set up the bridge %s: %w", b.cfg.Name, err))
	}
	if link.Kind != "bridge" {
		return fault.New(fault.Conflict, "set up the bridge %s: there is a device of that name that is no bridge (choose another name)", b.cfg.Name)
	}
	if err := b.setSysctls(); err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("set up the bridge %s: %w", b.cfg.Name, err))
	}
	has := map[netip.Prefix]bool{}
	var stale []netip.Prefix
	if !b.fresh {
		err = b.host.Addrs(func(a netlink.Addr) {
			switch {
			case a.Index != link.Index:
			case slices.Contains(b.cfg.Addresses, a.Prefix):
				has[a.Prefix] = true
			case strings.HasPrefix(link.Alias, Alias):
				stale = append(stale, a.Prefix)
			}
		})
	}
	var reqs []*netlink.Request
	for _, p := range stale {
		reqs = append(reqs, netlink.DelAddr(link.Index, p))
	}
	for _, p := range b.cfg.Addresses {
		if !has[p] {
			reqs = append(reqs, netlink.AddAddr(link.Index, p))
		}
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
	settings := ""
	if made {
		settings = b.look(link.Index)
	}
	b.mu.Lock()
	b.index, b.settings = link.Index, settings
	b.mu.Unlock()
	return nil
}

// makeBridge makes the link, or takes over one that is as new.
func (b *Bridge) makeBridge() error {
	since, adopted := b.adopt(b.cfg.Spares)
	if !adopted {
		since = time.Now()
		err := b.host.Do(netlink.CreateBridge(b.cfg.Name, randomMAC(), b.cfg.MTU), netlink.SetAlias(b.cfg.Name, alias(b.cfg.Owner)))
		if err != nil {
			return err
		}
	}
	b.mu.Lock()
	b.fresh, b.made = true, since
	b.mu.Unlock()
	return nil
}

// setSysctls: route_localnet lets 127.0.0.1:port reach a container (the
// firewall's loopback chain keeps others from using it). IPv6 is off on the
// bridge of a network without it, and router advertisements are ignored in every case
// (CVE-2020-13401).
func (b *Bridge) setSysctls() error {
	v4, v6 := "/proc/sys/net/ipv4/conf/"+b.cfg.Name+"/", "/proc/sys/net/ipv6/conf/"+b.cfg.Name+"/"
	if err := netns.WriteSysctl(v4+"route_localnet", "1"); err != nil {
		return err
	}
	disable := "1"
	if b.cfg.IPv6 {
		disable = "0"
	}
	for _, s := range []driver.Sysctl{{Path: "accept_ra", Value: "0"}, {Path: "disable_ipv6", Value: disable}} {
		err := netns.WriteSysctl(v6+s.Path, s.Value)
		if errors.Is(err, unix.ENOENT) {
			if b.cfg.IPv6 {
				return fault.New(fault.Unavailable, "this host's kernel has no IPv6: %w", err)
			}
			break
		}
		if err != nil {
			return err
		}
	}
	if !b.cfg.Forward {
		return nil
	}
	if b.cfg.IPv6 {
		if err := forwardIPv6(); err != nil {
			return err
		}
	}
	return netns.WriteSysctl("/proc/sys/net/ipv4/ip_forward", "1")
}

// forwardIPv6 switches IPv6 forwarding on. A router ignores advertisements unless
// told otherwise (accept_ra 2), and the host may have its own address and route
// from them: links that listen now go on to.
func forwardIPv6() error {
	const conf, forwarding = "/proc/sys/net/ipv6/conf", "/proc/sys/net/ipv6/conf/all/forwarding"
	if on, err := os.ReadFile(forwarding); err == nil && strings.TrimSpace(string(on)) == "1" {
		return nil
	}
	links, err := os.ReadDir(conf)
	if err != nil {
		return err
	}
	for _, l := range links {
		path := conf + "/" + l.Name() + "/accept_ra"
		if v, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(v)) == "1" && l.Name() != "all" && l.Name() != "default" {
			if err := netns.WriteSysctl(path, "2"); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return netns.WriteSysctl(forwarding, "1")
}

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
	return driver.Configure(sb, ep)
}

// makeLink creates the pair and makes the host's end a port of the bridge, all
// in one system call. The port gets no IPv6 address: it would answer on the
// link, and cost a route each.
func (b *Bridge) makeLink(sb *netns.Sandbox, ep driver.Endpoint) error {
	b.mu.Lock()
	index := b.index
	b.mu.Unlock()
	errs, err := b.host.DoEach(
		netlink.CreateVeth(netlink.Veth{Name: ep.Link, PeerName: ep.Name, PeerMAC: ep.MAC, PeerNS: int(sb.File.Fd()), MTU: b.cfg.MTU}),
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
	if !published && b.cfg.Rules.ICC {
		return nil
	}
	link, err := b.host.LinkByName(name)
	if err != nil {
		return err
	}
	return b.host.Do(netlink.SetPort(link.Index, published, !b.cfg.Rules.ICC))
}

// Publish translates the endpoint's ports, after Attach or later.
func (b *Bridge) Publish(_ context.Context, ep driver.Endpoint) error {
	return b.fw.Publish(Mappings(ep))
}

// Hairpin lets a running container reach itself through its ports.
func (b *Bridge) Hairpin(ep driver.Endpoint) error { return b.setPort(ep.Link, true) }

// Unpublish ends the translation of the endpoint's ports.
func (b *Bridge) Unpublish(_ context.Context, ep driver.Endpoint) error {
	return b.fw.Unpublish(Mappings(ep))
}

// Detach ends the translation, and removes the link later if it is still there.
func (b *Bridge) Detach(ctx context.Context, ep driver.Endpoint) error {
	if err := b.Unpublish(ctx, ep); err != nil {
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
	if err := b.host.Do(netlink.DeleteLink(name)); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, os.ErrClosed) {
		b.cfg.Log.Warn("the link of a container that ended is left", "link", name, "error", err)
	}
	// Last: whoever removes the bridge meanwhile must know of the link.
	b.mu.Lock()
	delete(b.leaving, name)
	b.mu.Unlock()
}

// sweep removes links on the bridge that no endpoint has: those of containers
// that ended while no daemon ran. It must not run while another daemon could
// have the bridge.
func (b *Bridge) sweep(known map[string]bool) error {
	var stale []string
	err := b.host.Links(func(l *netlink.Link) {
		if l.Master == b.index && containerLink(l) && !known[l.Name] {
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

// containerLink tells whether a link has a name as the network service gives: other
// programs put links on bridges too.
func containerLink(l *netlink.Link) bool {
	id, ok := strings.CutPrefix(l.Name, driver.LinkPrefix)
	return ok && l.Kind == "veth" && len(l.Name) == unix.IFNAMSIZ-1 && strings.Trim(id, "0123456789abcdef") == ""
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

// Close leaves the bridge to the containers; the table is the caller's.
func (b *Bridge) Close() error {
	b.stopTimers()
	b.host.Close()
	return nil
}

// Remove takes the network out of the table, and removes the bridge if Sampan
// made it, after the links on it that should be gone.
func (b *Bridge) Remove(context.Context) error {
	defer b.host.Close()
	err := errors.Join(removeLinks(b.host, nil, b.lingering())...)
	link, lookup := b.host.LinkByName(b.cfg.Name)
	if lookup == nil && strings.HasPrefix(link.Alias, Alias) {
		err = errors.Join(err, b.host.Do(netlink.DeleteLink(b.cfg.Name)))
	}
	return errors.Join(err, b.fw.RemoveNetwork(b.cfg.Name))
}

// RemoveSoon is Remove for a bridge whose name nobody asks for again: its
// addresses are free at once, and the link goes behind the caller's back. A daemon
// that dies before leaves it to Sweep.
func (b *Bridge) RemoveSoon(r *Remover) error {
	link, err := b.host.LinkByName(b.cfg.Name)
	if err != nil || link.Alias != alias(b.cfg.Owner) {
		return b.Remove(context.Background())
	}
	defer b.host.Close()
	var reqs []*netlink.Request
	for _, p := range b.cfg.Addresses {
		reqs = append(reqs, netlink.DelAddr(link.Index, p))
	}
	if len(reqs) > 0 {
		err = b.host.Do(reqs...)
	}
	err = errors.Join(err, b.fw.RemoveNetwork(b.cfg.Name))
	left := func(failed error) {
		if failed != nil {
			b.cfg.Log.Warn("a link of a removed network is left; the next start of the daemon removes it", "bridge", b.cfg.Name, "error", failed)
		}
	}
	b.dispose(r, link.Index, left)
	return err
}

// lingering are the links of containers that ended which are still there. With the
// bridge gone, nobody would know whose they are.
func (b *Bridge) lingering() (indexes []int) {
	for _, name := range b.stopTimers() {
		if link, err := b.host.LinkByName(name); err == nil {
			indexes = append(indexes, link.Index)
		}
	}
	return indexes
}

func alias(owner string) string {
	if owner == "" {
		return Alias
	}
	return Alias + " of " + owner
}

func randomMAC() net.HardwareAddr {
	m := net.HardwareAddr{0x02, 0x42, 0, 0, 0, 0}
	rand.Read(m[2:])
	return m
}
