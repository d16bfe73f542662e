// Package macvlan is the driver of macvlan and ipvlan networks: each container gets a link
// on a link of the host, and is a machine of its own on that wire: macvlan with a MAC
// address of its own, ipvlan with that of the host's link. Nothing is filtered or translated, and the host itself does
// not reach the containers through the parent link: the kernel keeps the two
// apart. A parent such as eth0.20 that does not exist is made, as VLAN 20 of
// eth0, and goes with the network; without a parent the network leads nowhere.
package macvlan

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/network/netns"
)

// Alias marks the links that Sampan made, and so may remove.
const Alias = "sampan macvlan parent"

// How long, and how often, a MAC address is tried that an ended container has still.
const (
	leaveWait  = 2 * time.Second
	leaveEvery = 10 * time.Millisecond
)

// probe is the name of a link that is asked for without a parent, and so never made.
const probe = "ipv-probe"

// maxVLAN is the highest VLAN number (802.1Q).
const maxVLAN = 4094

// Config describes one network.
type Config struct {
	Parent string // made if it does not exist
	Mode   uint32 // see netlink.MacvlanMode
	MTU    int
	// IPvlan makes ipvlan links, with this mode and these flags (netlink.IPvlanMode).
	IPvlan        bool
	IPMode, Flags uint16
}

// Macvlan is a macvlan network in the kernel.
type Macvlan struct {
	cfg  Config
	host *netlink.Conn
}

var _ driver.Driver = (*Macvlan)(nil)

// Open finds the parent, or makes it.
func Open(cfg Config) (*Macvlan, error) {
	host, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	m := &Macvlan{cfg: cfg, host: host}
	if cfg.IPvlan && errors.Is(host.Do(netlink.CreateIPvlan(netlink.IPvlan{Name: probe})), unix.EOPNOTSUPP) {
		host.Close()
		return nil, fault.New(fault.NotImplemented, "this host's kernel has no ipvlan (module ipvlan): use the driver macvlan")
	}
	if _, err := m.parent(); err != nil {
		host.Close()
		return nil, err
	}
	return m, nil
}

// parent returns the parent's index, and brings it into being if need be: the
// host's links may come later than the daemon.
func (m *Macvlan) parent() (int, error) {
	link, err := m.host.LinkByName(m.cfg.Parent)
	if errors.Is(err, unix.ENODEV) {
		if err = m.makeParent(); err == nil {
			link, err = m.host.LinkByName(m.cfg.Parent)
		}
	}
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, fmt.Errorf("set up the parent interface %s: %w", m.cfg.Parent, err))
	}
	return link.Index, nil
}

func (m *Macvlan) makeParent() error {
	name := m.cfg.Parent
	create := netlink.CreateDummy(name)
	if !strings.HasPrefix(name, DummyPrefix) {
		base, number, ok := cutLast(name, ".")
		id, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil || id == 0 || id > maxVLAN {
			return fault.New(fault.Invalid, "there is no interface %s on this host, and it is no VLAN such as eth0.20 that could be made", name)
		}
		below, err := m.host.LinkByName(base)
		if errors.Is(err, unix.ENODEV) {
			return fault.New(fault.Invalid, "there is no interface %s on this host, nor %s to make it on", name, base)
		}
		if err != nil {
			return err
		}
		create = netlink.CreateVLAN(name, below.Index, uint16(id))
	}
	err := m.host.Do(create, netlink.SetAlias(name, Alias), netlink.SetUp(name))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fault.New(fault.NotImplemented, "this host's kernel has no such interfaces (modules dummy and 8021q); name one that exists with -o parent=: %w", err)
	}
	return err
}

// DummyPrefix starts the names of links that lead nowhere; the network's id
// follows.
const DummyPrefix = "dm-"

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Attach makes the link in the namespace and configures it.
func (m *Macvlan) Attach(_ context.Context, sb *netns.Sandbox, ep driver.Endpoint) error {
	parent, err := m.parent()
	if err != nil {
		return err
	}
	// A parent that carried a passthru container takes no other link, and one that
	// carried others no passthru, until the kernel has taken theirs away, which goes with
	// the ended namespace.
	for until := time.Now().Add(leaveWait); ; time.Sleep(leaveEvery) {
		err = m.host.Do(m.link(parent, sb, ep))
		if !errors.Is(err, unix.EINVAL) || time.Now().After(until) {
			break
		}
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("connect container %.12s to the interface %s: %w (an interface carries one passthru container, and one of macvlan, ipvlan and a bridge)", ep.ContainerID, m.cfg.Parent, err))
	}
	// A link of the last run with the same address goes with its namespace, which
	// the kernel takes its time for.
	for until := time.Now().Add(leaveWait); ; time.Sleep(leaveEvery) {
		err := driver.Configure(sb, ep)
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(until) {
			return err
		}
	}
}

func (m *Macvlan) link(parent int, sb *netns.Sandbox, ep driver.Endpoint) *netlink.Request {
	if m.cfg.IPvlan {
		return netlink.CreateIPvlan(netlink.IPvlan{Name: ep.Name, Parent: parent, Mode: m.cfg.IPMode, Flags: m.cfg.Flags, MTU: m.cfg.MTU, NS: int(sb.File.Fd())})
	}
	return netlink.CreateMacvlan(netlink.Macvlan{Name: ep.Name, Parent: parent, Mode: m.cfg.Mode, MAC: ep.MAC, MTU: m.cfg.MTU, NS: int(sb.File.Fd())})
}

// Publish does nothing: the container has its own address on the wire.
func (m *Macvlan) Publish(context.Context, driver.Endpoint) error { return nil }

// Unpublish does nothing.
func (m *Macvlan) Unpublish(context.Context, driver.Endpoint) error { return nil }

// Detach does nothing: the link ends with its namespace.
func (m *Macvlan) Detach(context.Context, driver.Endpoint) error { return nil }

// Close leaves the parent as it is.
func (m *Macvlan) Close() error {
	m.host.Close()
	return nil
}

// Remove takes a parent away that Sampan made.
func (m *Macvlan) Remove(context.Context) error {
	defer m.host.Close()
	link, err := m.host.LinkByName(m.cfg.Parent)
	if err == nil && link.Alias == Alias {
		err = m.host.Do(netlink.DeleteLink(m.cfg.Parent))
	}
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
