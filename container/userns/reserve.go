package userns

import (
	"errors"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/runtime/privs"
)

// refillAfter keeps the making of the next pair out of the way of a start.
const refillAfter = 20 * time.Millisecond

// Reserve keeps one user namespace and the network namespace that belongs to it ready,
// with the maps of the last start: to make them takes the daemon as long as all the rest
// of a start. No two containers get the same. The zero value is empty and ready.
type Reserve struct {
	// Prepare, if it is not nil, makes a new network namespace ready for use, and
	// closes it after a failure.
	Prepare func(net *os.File) error

	mu        sync.Mutex
	of        *Remap
	user, net *os.File
	timer     *time.Timer // of the refill under way
	closed    bool
}

// Take returns a user namespace with these maps and its network namespace, and has the
// next pair made.
func (r *Reserve) Take(remap *Remap) (user, net *os.File, err error) {
	r.mu.Lock()
	if reflect.DeepEqual(r.of, remap) {
		user, net = r.user, r.net
		r.user, r.net = nil, nil
	} else {
		r.drop()
		r.of = remap
	}
	r.refill()
	r.mu.Unlock()
	if user != nil {
		return user, net, nil
	}
	return r.make(remap)
}

// make makes a pair.
func (r *Reserve) make(remap *Remap) (user, net *os.File, err error) {
	user, net, err = privs.NewUserNetNS(remap.UIDs, remap.GIDs)
	if err != nil || r.Prepare == nil {
		return user, net, err
	}
	if err := r.Prepare(net); err != nil {
		return nil, nil, errors.Join(err, user.Close())
	}
	return user, net, nil
}

// drop lets go of what is ready; the lock is held.
func (r *Reserve) drop() {
	if r.user != nil {
		r.user.Close()
		r.net.Close()
		r.user, r.net = nil, nil
	}
}

// refill has a pair made; the lock is held.
func (r *Reserve) refill() {
	if r.timer != nil || r.closed {
		return
	}
	of := r.of
	r.timer = time.AfterFunc(refillAfter, func() {
		user, net, err := r.make(of) // a failure shows when somebody takes one
		r.mu.Lock()
		defer r.mu.Unlock()
		r.timer = nil
		if err != nil {
			return
		}
		if r.closed || r.user != nil || !reflect.DeepEqual(r.of, of) {
			user.Close()
			net.Close()
			return
		}
		r.user, r.net = user, net
	})
}

// Close lets go of the namespaces; there will be none in reserve any more.
func (r *Reserve) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.drop()
}
