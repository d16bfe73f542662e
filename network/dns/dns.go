// Package dns is the resolver of the containers on user-defined networks. One
// Resolver in the daemon serves them all, at 127.0.0.11 inside each container's
// network namespace; nothing runs per container but two parked goroutines.
//
// Open makes a container's two sockets in its namespace, on a random port to
// which port 53 is redirected. The container's shim keeps them, the daemon has
// copies: queries that arrive while no daemon runs wait in the socket for the
// next one. Whoever holds a copy keeps the namespace alive, so Stop comes before
// the network is taken away.
//
// A query is answered from the names of the container's networks; that way waits
// for nothing and nobody. What nobody there has is forwarded, unless the
// container is in internal networks only: to the host's resolvers from the host's
// namespace, or, with --dns, to the container's own from its own namespace.
// Answers of the host's resolvers are cached for all containers; those of a
// container's own only for itself, because it could forge them.
//
// Limits: queries under way outside are bounded per container and in all, as are
// the cache, TCP connections and the size of messages. A query over a limit is
// answered SERVFAIL at once.
package dns

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Names tells what the networks know. Methods answer from memory.
type Names interface {
	// Lookup returns the addresses, of both families, that a name has for a
	// container; found tells that somebody has the name.
	Lookup(containerID, name string) (addrs []netip.Addr, found bool)
	// Reverse returns the name that an address has for a container.
	Reverse(containerID string, addr netip.Addr) (name string, found bool)
	// Outside tells whether the container may ask for names outside.
	Outside(containerID string) bool
}

// Config describes a Resolver.
type Config struct {
	Names Names
	// Servers are asked, from the namespace of the process, for containers that
	// have none of their own; nil takes those of the host's resolv.conf as it is
	// at the time.
	Servers []netip.Addr
	Log     *slog.Logger // nil = discard
}

const (
	// maxForwards bounds the queries under way outside, maxClientForwards those
	// of one container, so that one that asks a dead server leaves room to others.
	maxForwards       = 1024
	maxClientForwards = 128
	// maxConns bounds the TCP connections of one container; more wait in the
	// kernel.
	maxConns = 32
)

// Resolver answers the queries of all containers. It is safe for concurrent use.
type Resolver struct {
	names    Names
	log      *slog.Logger
	host     upstreams
	cache    cache
	forwards chan struct{}

	mu      sync.Mutex
	flights map[key]*flight
	clients map[string]*client
	scopes  uint64
	closed  bool
}

// New returns a Resolver that serves nobody yet.
func New(cfg Config) *Resolver {
	r := &Resolver{names: cfg.Names, log: cfg.Log, forwards: make(chan struct{}, maxForwards), flights: map[key]*flight{}, clients: map[string]*client{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.host.fixed = withPort(cfg.Servers)
	return r
}

// Client describes one container to the resolver.
type Client struct {
	ID string // as Names knows it
	// Sockets are copies of what Open made; Serve takes them over in every case.
	Sockets
	// Servers are the container's own (--dns), asked from its namespace; nil
	// takes the resolver's.
	Servers []netip.Addr
	// Qualified tells that names without a dot are not asked for outside: the
	// container's options say with ndots that it will add a search domain.
	Qualified bool
}

// client is a container that is served.
type client struct {
	Client
	udp      *net.UDPConn
	tcp      *net.TCPListener
	own      *upstreams // nil = the resolver's
	scope    uint64     // of its answers in the cache; 0 = everybody's
	forwards chan struct{}
	conns    chan struct{}
	turns    [2]atomic.Uint32 // of the rotation, by family

	mu   sync.Mutex
	open map[net.Conn]struct{} // TCP connections; nil once stopped
}

// Serve begins to answer a container, in the place of an earlier one of the same
// ID.
func (r *Resolver) Serve(c Client) error {
	cl := &client{Client: c, forwards: make(chan struct{}, maxClientForwards), conns: make(chan struct{}, maxConns), open: map[net.Conn]struct{}{}}
	// The first container asked for is not the same for everybody.
	for i := range cl.turns {
		cl.turns[i].Store(rand.Uint32())
	}
	err := cl.listen()
	c.Sockets.Close()
	if err != nil {
		return fmt.Errorf("serve names to container %.12s: %w", c.ID, err)
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		cl.stop()
		return fmt.Errorf("serve names to container %.12s: %w", c.ID, net.ErrClosed)
	}
	if len(c.Servers) > 0 {
		r.scopes++
		cl.scope, cl.own = r.scopes, &upstreams{fixed: others(c.Servers), inside: cl.udp}
	}
	before := r.clients[c.ID]
	r.clients[c.ID] = cl
	r.mu.Unlock()
	if before != nil {
		before.stop()
	}
	go r.serveUDP(cl)
	go r.serveTCP(cl)
	return nil
}

// listen turns the descriptors into connections of the poller.
func (c *client) listen() error {
	if c.UDP == nil || c.TCP == nil {
		return errors.New("a socket is missing")
	}
	packets, err := net.FilePacketConn(c.UDP)
	if err != nil {
		return err
	}
	stream, err := net.FileListener(c.TCP)
	if err != nil {
		packets.Close()
		return err
	}
	var ok1, ok2 bool
	c.udp, ok1 = packets.(*net.UDPConn)
	c.tcp, ok2 = stream.(*net.TCPListener)
	if !ok1 || !ok2 {
		packets.Close()
		stream.Close()
		return unix.EPROTOTYPE
	}
	return nil
}

// Stop ends the service of a container and closes the daemon's copies of its
// sockets; an unknown one is no error.
func (r *Resolver) Stop(id string) {
	r.mu.Lock()
	c := r.clients[id]
	delete(r.clients, id)
	r.mu.Unlock()
	if c != nil {
		c.stop()
	}
}

func (c *client) stop() {
	c.udp.Close()
	c.tcp.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		conn.Close()
	}
	c.open = nil
}

// Close lets go of every container; their sockets stay with the shims.
func (r *Resolver) Close() {
	r.mu.Lock()
	all := r.clients
	r.clients, r.closed = map[string]*client{}, true
	r.mu.Unlock()
	for _, c := range all {
		c.stop()
	}
}

// Sockets are a container's two.
type Sockets struct{ UDP, TCP *os.File }

// Copy duplicates both.
func (s Sockets) Copy() (Sockets, error) {
	udp, err := copyFile(s.UDP)
	if err != nil {
		return Sockets{}, err
	}
	tcp, err := copyFile(s.TCP)
	if err != nil {
		udp.Close()
		return Sockets{}, err
	}
	return Sockets{UDP: udp, TCP: tcp}, nil
}

// copyFile avoids File.Fd, which would make the socket blocking.
func copyFile(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	n, dupErr := -1, error(nil)
	if err := raw.Control(func(fd uintptr) { n, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, fmt.Errorf("duplicate %s: %w", f.Name(), dupErr)
	}
	return os.NewFile(uintptr(n), f.Name()), nil
}

// Close closes these copies.
func (s Sockets) Close() {
	for _, f := range []*os.File{s.UDP, s.TCP} {
		if f != nil {
			f.Close()
		}
	}
}

// others leaves the resolver's own address out of a container's servers: asking it
// would be asking ourselves, again and again. The list is never nil, which would mean the host's.
func others(servers []netip.Addr) []netip.AddrPort {
	out := make([]netip.AddrPort, 0, len(servers))
	for _, a := range servers {
		if a != Address {
			out = append(out, netip.AddrPortFrom(a, port))
		}
	}
	return out
}
