// Package ipam hands out IPv4 addresses of one network and finds a network that
// the host does not use yet.
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

// Pool is the addresses of one network. It is safe for concurrent use.
type Pool struct {
	mu          sync.Mutex
	first, last uint32 // of the range handed out
	network     netip.Prefix
	taken       map[uint32]struct{}
	cursor      uint32 // handed out last
}

// NewPool makes the pool of network; within, when valid, is the part that is
// handed out (--fixed-cidr). Network and broadcast address are never handed out.
func NewPool(network, within netip.Prefix) (*Pool, error) {
	network = network.Masked()
	if !within.IsValid() {
		within = network
	}
	within = within.Masked()
	if !network.Addr().Is4() || network.Bits() > 30 {
		return nil, fault.New(fault.Invalid, "network %s cannot hold containers: it must be IPv4 and have room for at least two addresses (/30 or wider)", network)
	}
	if !network.Contains(within.Addr()) || within.Bits() < network.Bits() {
		return nil, fault.New(fault.Invalid, "the address range %s is not inside the network %s", within, network)
	}
	lo, hi := bounds(network)
	p := &Pool{network: network, taken: map[uint32]struct{}{}}
	p.first, p.last = bounds(within)
	p.first, p.last = max(p.first, lo+1), min(p.last, hi-1)
	p.cursor = p.last
	return p, nil
}

// Network returns the pool's network.
func (p *Pool) Network() netip.Prefix { return p.network }

// Next takes a free address; fault.Exhausted when there is none.
func (p *Pool) Next() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, left := p.cursor, p.last-p.first+1; left > 0; left-- {
		if a++; a > p.last || a < p.first {
			a = p.first
		}
		if _, used := p.taken[a]; !used {
			p.taken[a] = struct{}{}
			p.cursor = a
			return toAddr(a), nil
		}
	}
	return netip.Addr{}, fault.New(fault.Exhausted, "no address is left in %s (%d containers use it; remove some, or give the daemon a wider --bip)", p.network, len(p.taken))
}

// Take takes one address and tells whether it was free and in the network.
func (p *Pool) Take(addr netip.Addr) bool {
	if !addr.Is4() || !p.network.Contains(addr) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := fromAddr(addr)
	if _, used := p.taken[a]; used {
		return false
	}
	p.taken[a] = struct{}{}
	return true
}

// Release gives an address back; a free one is no error.
func (p *Pool) Release(addr netip.Addr) {
	if addr.Is4() {
		p.mu.Lock()
		delete(p.taken, fromAddr(addr))
		p.mu.Unlock()
	}
}

// SetCursor makes Next start after addr, where a daemon before left off.
func (p *Pool) SetCursor(addr netip.Addr) {
	if addr.Is4() && p.network.Contains(addr) {
		p.mu.Lock()
		p.cursor = fromAddr(addr)
		p.mu.Unlock()
	}
}

// bounds returns the first and last address of a prefix.
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
