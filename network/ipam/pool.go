// Package ipam hands out the addresses of one subnet, IPv4 or IPv6, and finds a
// subnet that the host does not use yet.
//
// Addresses go round robin, so that one just released, which neighbours and
// connection tracking may still know, comes back last. A Pool lives in memory;
// its owner keeps what is taken in the state store and refills it at start.
package ipam

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/sampan-containers/sampan/fault"
)

// Pool is the addresses of one subnet. It is safe for concurrent use.
type Pool struct {
	mu          sync.Mutex
	network     netip.Prefix
	first, last netip.Addr // of the range handed out
	taken       map[netip.Addr]struct{}
	cursor      netip.Addr // handed out last
}

// NewPool makes the pool of a subnet; within, when valid, is the part that is
// handed out (--ip-range). Network and broadcast address are never handed out.
func NewPool(network, within netip.Prefix) (*Pool, error) {
	network = network.Masked()
	if !within.IsValid() {
		within = network
	}
	within = within.Masked()
	if network.Addr().BitLen()-network.Bits() < 2 {
		return nil, fault.New(fault.Invalid, "network %s cannot hold containers: it must have room for at least two addresses (a prefix of /%d or wider)", network, network.Addr().BitLen()-2)
	}
	if !network.Contains(within.Addr()) || within.Bits() < network.Bits() {
		return nil, fault.New(fault.Invalid, "the address range %s is not inside the network %s", within, network)
	}
	p := &Pool{network: network, taken: map[netip.Addr]struct{}{}, first: within.Addr(), last: last(within)}
	if p.first == network.Addr() {
		p.first = p.first.Next()
	}
	if network.Addr().Is4() && p.last == last(network) {
		p.last = p.last.Prev()
	}
	p.cursor = p.last
	return p, nil
}

// Network returns the pool's subnet.
func (p *Pool) Network() netip.Prefix { return p.network }

// Next takes a free address; fault.Exhausted when there is none.
func (p *Pool) Next() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, err := p.freeAfter(p.cursor)
	if err == nil {
		p.cursor = a
	}
	return a, err
}

// Lowest takes the lowest free address of the range: for a router.
func (p *Pool) Lowest() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.freeAfter(p.last)
}

// freeAfter looks at one address more than are taken: one of them is free, or
// the range is shorter.
func (p *Pool) freeAfter(a netip.Addr) (netip.Addr, error) {
	for range len(p.taken) + 1 {
		if a = a.Next(); !a.IsValid() || p.last.Less(a) || a.Less(p.first) {
			a = p.first
		}
		if _, used := p.taken[a]; !used {
			p.taken[a] = struct{}{}
			return a, nil
		}
	}
	return netip.Addr{}, fault.New(fault.Exhausted, "no address is left in %s (%d are in use; remove some containers, or make the network wider: --subnet, or --bip of the daemon for the default one)", p.network, len(p.taken))
}

// Take takes one address and tells whether it was free and in the subnet.
func (p *Pool) Take(addr netip.Addr) bool {
	if !p.network.Contains(addr) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, used := p.taken[addr]; used {
		return false
	}
	p.taken[addr] = struct{}{}
	return true
}

// Release gives an address back; a free one is no error.
func (p *Pool) Release(addr netip.Addr) {
	p.mu.Lock()
	delete(p.taken, addr)
	p.mu.Unlock()
}

// SetCursor makes Next start after addr, where a daemon before left off.
func (p *Pool) SetCursor(addr netip.Addr) {
	if p.network.Contains(addr) {
		p.mu.Lock()
		p.cursor = addr
		p.mu.Unlock()
	}
}

// bounds returns the first and last address of an IPv4 prefix.
func bounds(p netip.Prefix) (uint32, uint32) {
	lo := fromAddr(p.Addr())
	return lo, lo | uint32(uint64(1)<<(32-p.Bits())-1)
}

func fromAddr(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func toAddr(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}
