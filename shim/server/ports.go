package server

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/shim/lent"
	"github.com/sampan-containers/sampan/shim/relay"
	"github.com/sampan-containers/sampan/shim/wire"
)

// maxPairs bounds the connections of one spliced port.
const maxPairs = 256

// hold takes over a published port's socket. It stays open for the container's
// life, so that nobody else gets the port; the kernel's rules forward its
// traffic. No rule can translate [::1], so connections to it are copied here.
func (s *shim) hold(fd int, p *wire.Port) error {
	if !p.Splice {
		s.ports = append(s.ports, fd)
		return nil
	}
	if p.Proto != "tcp" {
		unix.Close(fd)
		return fmt.Errorf("publish [%s]:%d/%s: only tcp can be published on the IPv6 loopback address (publish the port on 127.0.0.1 or a real address)", p.HostIP, p.HostPort, p.Proto)
	}
	sp := &splicer{s: s, fd: fd}
	sp.family, sp.target = lent.Target(p.ContainerIP, p.ContainerPort)
	s.splices = append(s.splices, sp)
	unix.SetNonblock(fd, true)
	if err := unix.Listen(fd, 128); err != nil {
		return fmt.Errorf("publish [%s]:%d/tcp: listen: %w", p.HostIP, p.HostPort, err)
	}
	return nil
}

func (s *shim) closePorts() {
	closeAll(s.ports)
	for _, sp := range s.splices {
		sp.close()
	}
	s.ports, s.splices = nil, nil
	s.kept.Close()
}

func (sp *splicer) close() {
	for len(sp.pairs) > 0 {
		sp.pairs[0].close()
	}
	sp.s.close(sp.fd)
}

// release closes the sockets of one port, or leads it to an address that is given.
func (s *shim) release(p *wire.Port) {
	lead := p.ContainerIP.IsValid()
	if !lead {
		s.ports = lent.CloseBound(s.ports, p.Proto, p.HostIP, p.HostPort)
	}
	for i := len(s.splices) - 1; i >= 0; i-- {
		if sp := s.splices[i]; lead && lent.Bound(sp.fd, p.Proto, p.HostIP, p.HostPort) {
			sp.family, sp.target = lent.Target(p.ContainerIP, p.ContainerPort)
		} else if !lead && lent.Bound(sp.fd, p.Proto, p.HostIP, p.HostPort) {
			sp.close()
			s.splices = append(s.splices[:i], s.splices[i+1:]...)
		}
	}
}

// splicer accepts connections of one port for the container.
type splicer struct {
	s      *shim
	fd     int
	family int
	target unix.Sockaddr
	pairs  []*pair
}

func (sp *splicer) ready(uint32) {
	client, _, err := unix.Accept4(sp.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	if !sp.join(client) {
		unix.Close(client)
	}
	if len(sp.pairs) >= maxPairs {
		sp.s.del(sp.fd) // the rest waits in the backlog
	}
}

// join connects to the container and pairs the two connections.
func (sp *splicer) join(client int) bool {
	server, err := unix.Socket(sp.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	if err := unix.Connect(server, sp.target); err != nil && err != unix.EINPROGRESS {
		unix.Close(server)
		return false
	}
	p := &pair{sp: sp, fds: [2]int{client, server}}
	for i := range p.ways {
		if p.ways[i].Open() != nil {
			unix.Close(server)
			p.ways[0].Close()
			return false
		}
	}
	sp.pairs = append(sp.pairs, p)
	// Until the connection stands, only its outcome matters.
	p.connecting = true
	p.events[1] = unix.EPOLLOUT
	if sp.s.add(server, unix.EPOLLOUT, end{p, 1}) != nil {
		p.close()
	}
	return true
}

// pair is one connection of a client and the one made for it. Way 0 leads from
// the client to the container, way 1 back.
type pair struct {
	sp         *splicer
	fds        [2]int
	ways       [2]relay.Way
	events     [2]uint32
	connecting bool
	closed     bool
}

// end is one of a pair's connections in the loop.
type end struct {
	p *pair
	i int
}

func (e end) ready(ev uint32) {
	p := e.p
	if p.closed {
		return
	}
	if p.connecting {
		if ev&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			p.close() // nobody listens in the container
			return
		}
		p.connecting = false
	}
	if ev&unix.EPOLLERR != 0 || !p.ways[0].Pump(p.fds[0], p.fds[1]) || !p.ways[1].Pump(p.fds[1], p.fds[0]) || p.ways[0].Done() && p.ways[1].Done() {
		p.close()
		return
	}
	p.watch()
}

// watch asks for the events that let the pair go on.
func (p *pair) watch() {
	for i, fd := range p.fds {
		var ev uint32
		if p.ways[i].Hungry() {
			ev |= unix.EPOLLIN
		}
		if p.ways[1-i].Holds() {
			ev |= unix.EPOLLOUT
		}
		switch s := p.sp.s; {
		case ev == p.events[i]:
		case ev == 0:
			s.del(fd) // a mask of 0 would still report hang-ups, again and again
		case p.events[i] == 0:
			s.add(fd, ev, end{p, i})
		default:
			s.mod(fd, ev)
		}
		p.events[i] = ev
	}
}

func (p *pair) close() {
	if p.closed {
		return
	}
	p.closed = true
	s := p.sp.s
	s.close(p.fds[0])
	s.close(p.fds[1])
	p.ways[0].Close()
	p.ways[1].Close()
	full := len(p.sp.pairs) >= maxPairs
	kept := make([]*pair, 0, len(p.sp.pairs))
	for _, other := range p.sp.pairs {
		if other != p {
			kept = append(kept, other)
		}
	}
	p.sp.pairs = kept
	if full {
		s.add(p.sp.fd, unix.EPOLLIN, p.sp)
	}
}
