package bridge

import (
	"time"

	"github.com/sampan-containers/sampan/network/netlink"
)

const (
	// spareFor is how long a bridge that nobody needs any more waits for a network that is
	// made right then, as by a script that removes one network and makes the next.
	spareFor = 40 * time.Millisecond
	// spareAge is how old a bridge may be to be taken over. What cannot be seen of
	// a link, such as a program that somebody attached to it, has had no more
	// time than that to come there.
	spareAge = time.Minute
)

// spare is a bridge whose network is gone: down, without addresses and ports, and
// in all its settings as it was made. Taking it over takes a tenth of a millisecond;
// removing it and making another keeps the kernel's network configuration busy
// for 15 ms.
type spare struct {
	index int
	mtu   int
	made  time.Time
	timer *time.Timer
	after func(error)
}

// offer keeps a bridge for take; if nobody comes it is removed, as by add.
func (r *Remover) offer(s *spare) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spares = append(r.spares, s)
	s.timer = time.AfterFunc(spareFor, func() {
		if r.withdraw(s) {
			r.add(s.index, s.after)
		}
	})
}

// withdraw ends an offer; false = somebody else has done so.
func (r *Remover) withdraw(s *spare) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range r.spares {
		if o == s {
			r.spares = append(r.spares[:i:i], r.spares[i+1:]...)
			return true
		}
	}
	return false
}

// take returns a bridge with the MTU, which is the caller's now, or nil.
func (r *Remover) take(mtu int) *spare {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.spares {
		if s.mtu == mtu {
			s.timer.Stop()
			r.spares = append(r.spares[:i:i], r.spares[i+1:]...)
			return s
		}
	}
	return nil
}

// removeSpares ends all offers.
func (r *Remover) removeSpares() {
	r.mu.Lock()
	spares := r.spares
	r.spares = nil
	r.mu.Unlock()
	for _, s := range spares {
		s.timer.Stop()
		r.add(s.index, s.after)
	}
}

// adopt makes a spare bridge this network's, and tells when it was made. One that cannot be had is
// removed, as it would have been without this network.
func (b *Bridge) adopt(r *Remover) (made time.Time, ok bool) {
	s := r.take(b.cfg.MTU)
	if s == nil {
		return made, false
	}
	if err := b.host.Do(netlink.RenewBridge(s.index, b.cfg.Name, randomMAC(), alias(b.cfg.Owner))); err != nil {
		r.add(s.index, s.after)
		return made, false
	}
	return s.made, true
}

// look is what the bridge is like, or "" if that cannot be told.
func (b *Bridge) look(index int) string {
	settings, err := b.host.Settings(index)
	if err != nil {
		return ""
	}
	return settings
}

// asMade tells whether the bridge is, but for its name and addresses, what a new one
// would be, as far as that can be seen.
func (b *Bridge) asMade(index int) bool {
	b.mu.Lock()
	settings, made := b.settings, b.made
	b.mu.Unlock()
	if settings == "" || time.Since(made) > spareAge || b.look(index) != settings {
		return false
	}
	ports, err := b.host.HasPorts(index)
	return err == nil && !ports
}

// dispose has the link of the bridge removed, soon, or offers it. It has no addresses
// any more.
func (b *Bridge) dispose(r *Remover, index int, left func(error)) {
	ports := b.lingering()
	for _, port := range ports {
		r.add(port, left)
	}
	if len(ports) == 0 && b.asMade(index) && b.host.Do(netlink.SetDownIndex(index)) == nil {
		r.offer(&spare{index: index, mtu: b.cfg.MTU, made: b.made, after: left})
		return
	}
	r.add(index, left)
}
