// Package portmap reserves host ports for containers by binding their sockets.
// A bound socket is the only reservation every program on the host respects; it
// goes to the container's shim, which holds it as long as the container lives,
// whatever happens to the daemon.
//
// IPv4 addresses are translated by the kernel, so their sockets are bound and
// do not listen: a connection that escapes translation is refused at once. What
// the kernel cannot translate, ::1 and everything to a container without an
// address of the family, is relayed: TCP sockets on IPv6 listen and are
// marked Splice. Shims splice TCP only.
package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// backlog is the listen queue of a spliced port; the kernel caps it at
	// net.core.somaxconn.
	backlog = 4096
	// randomTries bounds the search for a port that is free on IPv4 and IPv6.
	randomTries = 64
)

// Request asks for one published port. First 0 means any free port; Last above
// First means the first free port of the range.
type Request struct {
	Proto         string // tcp or udp
	HostIP        netip.Addr
	First, Last   uint16
	ContainerPort uint16
	To4, To6      bool // the address families that the container has
}

// Socket is a bound host port.
type Socket struct {
	Proto         string
	HostIP        netip.Addr
	HostPort      uint16
	ContainerPort uint16
	Splice        bool
	File          *os.File
}

// key identifies a port among the daemon's own.
type key struct {
	proto string
	ip    netip.Addr
	port  uint16
}

// Table binds ports and knows which container has which. It is safe for
// concurrent use.
type Table struct {
	// SpliceAll marks every socket Splice, so that nothing is translated.
	SpliceAll bool

	mu     sync.Mutex
	owners map[key]string
}

// Add records a port that a running container holds already.
func (t *Table) Add(owner string, s Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owners == nil {
		t.owners = map[key]string{}
	}
	t.owners[key{s.Proto, s.HostIP, s.HostPort}] = owner
}

// Remove forgets a port.
func (t *Table) Remove(s Socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.owners, key{s.Proto, s.HostIP, s.HostPort})
}

// Bind binds all requests for owner (a container's name), or none. A port in use
// is fault.Conflict, no free one left fault.Exhausted.
func (t *Table) Bind(owner string, reqs []Request) (socks []Socket, retErr error) {
	defer func() {
		if retErr != nil {
			t.release(socks)
			socks = nil
		}
	}()
	for _, r := range reqs {
		got, err := t.bindOne(r)
		if err != nil {
			return socks, err
		}
		for _, s := range got {
			t.Add(owner, s)
		}
		socks = append(socks, got...)
	}
	return socks, nil
}

func (t *Table) release(socks []Socket) {
	for _, s := range socks {
		s.File.Close()
		t.Remove(s)
	}
}

func (t *Table) bindOne(r Request) ([]Socket, error) {
	switch r.Proto {
	case "tcp", "udp", "sctp":
	default:
		return nil, fault.New(fault.Invalid, "publish port %d/%s: unknown protocol (use tcp, udp or sctp)", r.ContainerPort, r.Proto)
	}
	if r.ContainerPort == 0 {
		return nil, fault.New(fault.Invalid, "publish port 0/%s: a container's port is 1 to 65535", r.Proto)
	}
	if r.First == 0 {
		return t.bindRandom(r)
	}
	last := max(r.First, r.Last)
	for port := int(r.First); ; port++ {
		socks, err := t.bindPort(r, uint16(port))
		if err == nil || !errors.Is(err, unix.EADDRINUSE) {
			return socks, err
		}
		if port == int(last) {
			if r.First != last {
				err = fault.New(fault.Conflict, "publish port %d/%s: every host port from %d to %d is in use: all ports are allocated (%w)", r.ContainerPort, r.Proto, r.First, last, err)
			}
			return nil, err
		}
	}
}

func (t *Table) bindRandom(r Request) ([]Socket, error) {
	var err error
	for range randomTries {
		var socks []Socket
		if socks, err = t.bindPort(r, 0); err == nil || !errors.Is(err, unix.EADDRINUSE) {
			return socks, err
		}
	}
	return nil, fault.New(fault.Exhausted, "publish port %d/%s: no free host port is left in the range of net.ipv4.ip_local_port_range: %w", r.ContainerPort, r.Proto, err)
}

// bindPort binds one port on the request's addresses. Port 0 lets the kernel
// choose; the choice made for IPv4 is then wanted for IPv6 too.
func (t *Table) bindPort(r Request, port uint16) (socks []Socket, retErr error) {
	defer func() {
		if retErr != nil {
			for _, s := range socks {
				s.File.Close()
			}
			socks = nil
		}
	}()
	hosts := []netip.Addr{r.HostIP}
	every := !r.HostIP.IsValid()
	if every {
		hosts = nil
		if r.To4 || r.Proto == "tcp" {
			hosts = append(hosts, netip.IPv4Unspecified())
		}
		if r.To6 || r.Proto == "tcp" {
			hosts = append(hosts, netip.IPv6Unspecified())
		}
	}
	for _, host := range hosts {
		host = host.Unmap()
		reached := host.Is4() && r.To4 || host.Is6() && r.To6
		splice := t.SpliceAll || !reached || host.Is6()
		if r.Proto != "tcp" {
			if splice = false; t.SpliceAll || !reached {
				return socks, fault.New(fault.NotImplemented, "publish port %d/%s on %s: only TCP can be relayed to a container that has no address of that family; publish it on an address of the container's family, with translation on", r.ContainerPort, r.Proto, host)
			}
		}
		f, got, err := t.bind(r.Proto, host, port, splice)
		if every && host.Is6() && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			continue // a host without IPv6
		}
		if err != nil {
			return socks, t.explain(r, host, port, err)
		}
		port = got
		socks = append(socks, Socket{r.Proto, host, port, r.ContainerPort, splice, f})
	}
	return socks, nil
}

func (t *Table) bind(proto string, host netip.Addr, port uint16, listen bool) (*os.File, uint16, error) {
	family, typ, number := unix.AF_INET, unix.SOCK_STREAM, 0
	if host.Is6() {
		family = unix.AF_INET6
	}
	switch proto {
	case "udp":
		typ = unix.SOCK_DGRAM
	case "sctp":
		number = unix.IPPROTO_SCTP
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, number)
	if err != nil {
		return nil, 0, err
	}
	if port, err = t.bindFD(fd, proto, host, port, listen); err != nil {
		unix.Close(fd)
		return nil, 0, err
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("%s %s", proto, netip.AddrPortFrom(host, port))), port, nil
}

func (t *Table) bindFD(fd int, proto string, host netip.Addr, port uint16, listen bool) (uint16, error) {
	if host.Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return 0, err
		}
	}
	reuse := func(on int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, on) }
	sa := sockaddr(host, port)
	var err error
	switch {
	case proto != "tcp":
		err = unix.Bind(fd, sa)
	case listen:
		// Connections of an earlier server in TIME_WAIT do not hold the port.
		if err = reuse(1); err == nil {
			err = unix.Bind(fd, sa)
		}
		if err == nil {
			err = unix.Listen(fd, backlog)
		}
	default:
		// Two sockets that both have the option may share a port until one
		// listens, and ours never does. An older kernel (6.1) goes on believing
		// that of a port whose first socket takes the option back; so the option
		// is for the ports alone that need it.
		err = unix.Bind(fd, sa)
		if errors.Is(err, unix.EADDRINUSE) && port != 0 && !t.ours(proto, host, port) && reuse(1) == nil {
			if err = unix.Bind(fd, sa); err == nil {
				// The listen of another program that has the option then fails.
				err = reuse(0)
			}
		}
	}
	if err != nil {
		return 0, err
	}
	return boundPort(fd)
}

func (t *Table) ours(proto string, host netip.Addr, port uint16) bool {
	_, ours := t.holder(proto, host, port)
	return ours
}

func boundPort(fd int) (uint16, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port), nil
	case *unix.SockaddrInet6:
		return uint16(sa.Port), nil
	}
	return 0, unix.EAFNOSUPPORT
}

func sockaddr(host netip.Addr, port uint16) unix.Sockaddr {
	if host.Is4() {
		return &unix.SockaddrInet4{Port: int(port), Addr: host.As4()}
	}
	return &unix.SockaddrInet6{Port: int(port), Addr: host.As16()}
}
