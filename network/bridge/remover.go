package bridge

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

const (
	// RemovalGroup is the link group that bridges are put into to be removed in one
	// request. Nobody else numbers groups like that ("Smpn").
	RemovalGroup = 0x536d706e
	// removedAtOnce bounds how long one request keeps others from the kernel's
	// network configuration: a bridge holds its lock for 15 ms.
	removedAtOnce = 8
)

// Remover removes bridges, and links that are still on them, behind their networks' back, one request after the
// other. The kernel waits twice for all readers to be done with a bridge that goes,
// 30 ms in all: once with its lock held, for each bridge, and once after that, for
// each request. So those that come while a request is under way share the next one.
//
// The zero value is ready. A daemon that dies leaves the rest to Sweep. They go in
// the order in which they came: the links on a bridge before it, so that Sweep knows
// by the bridge whose they are. A bridge that is as new waits a moment for another
// network first (spare).
type Remover struct {
	mu      sync.Mutex
	spares  []*spare // see offer
	waiting []doomed
	working bool
	idle    []chan struct{} // closed when working ends
}

// doomed is a link to be removed, and what to do after that.
type doomed struct {
	index int
	after func(error)
}

// add has a link removed. after is told when it is gone, or why it is not.
func (r *Remover) add(index int, after func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, doomed{index, after})
	if !r.working {
		r.working = true
		go r.work()
	}
}

// Wait returns when everything has been removed that was to be.
func (r *Remover) Wait() {
	r.removeSpares()
	r.mu.Lock()
	var idle chan struct{}
	if r.working {
		idle = make(chan struct{})
		r.idle = append(r.idle, idle)
	}
	r.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

func (r *Remover) work() {
	conn, opened := netlink.Open()
	if opened == nil {
		defer conn.Close()
	}
	for {
		r.mu.Lock()
		n := min(len(r.waiting), removedAtOnce)
		now := r.waiting[:n:n]
		if r.waiting = r.waiting[n:]; n == 0 {
			for _, c := range r.idle {
				close(c)
			}
			r.waiting, r.idle, r.working = nil, nil, false
		}
		r.mu.Unlock()
		if n == 0 {
			return
		}
		indexes := make([]int, n)
		for i, l := range now {
			indexes[i] = l.index
		}
		for i, err := range removeLinks(conn, opened, indexes) {
			now[i].after(err)
		}
	}
}

// removeLinks removes links, by one request if it can, and returns what became of
// each; one that is gone already is no failure.
func removeLinks(conn *netlink.Conn, opened error, indexes []int) []error {
	errs := make([]error, len(indexes))
	if opened == nil && len(indexes) > 1 && removeTogether(conn, indexes) {
		return errs
	}
	for i, index := range indexes {
		if errs[i] = opened; opened == nil {
			errs[i] = conn.Do(netlink.DeleteLinkIndex(index))
		}
		if errors.Is(errs[i], unix.ENODEV) {
			errs[i] = nil
		}
	}
	return errs
}

// removeTogether removes links by one request; false = some may be left.
func removeTogether(conn *netlink.Conn, indexes []int) bool {
	var reqs []*netlink.Request
	for _, index := range indexes {
		reqs = append(reqs, netlink.SetGroup(index, RemovalGroup))
	}
	results, err := conn.DoEach(append(reqs, netlink.DeleteGroup(RemovalGroup))...)
	if err != nil {
		return false
	}
	for _, err := range results {
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return false
		}
	}
	return true
}
