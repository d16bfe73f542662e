package netns

import (
	"sync"
	"time"
)

// refillAfter is how long after a namespace was taken the next one is made: the
// container it was taken for starts first.
const refillAfter = 15 * time.Millisecond

// Reserve keeps one namespace ready, since the kernel takes half a millisecond to
// make one. Its sysctls are those of the moment it was made. The zero value is
// empty and ready.
type Reserve struct {
	mu     sync.Mutex
	spare  *Sandbox
	timer  *time.Timer // of the refill under way
	closed bool
}

// Take returns the namespace that is ready, or a new one, and has the next made.
func (r *Reserve) Take() (*Sandbox, error) {
	r.mu.Lock()
	sb := r.spare
	r.spare = nil
	r.refill(refillAfter)
	r.mu.Unlock()
	if sb != nil {
		return sb, nil
	}
	return NewSandbox()
}

// Fill begins to make the first namespace.
func (r *Reserve) Fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refill(0)
}

func (r *Reserve) refill(after time.Duration) {
	if r.timer != nil || r.closed {
		return
	}
	r.timer = time.AfterFunc(after, func() {
		sb, err := NewSandbox() // a failure shows when somebody takes one
		r.mu.Lock()
		defer r.mu.Unlock()
		r.timer = nil
		switch {
		case err != nil:
		case r.closed || r.spare != nil:
			sb.close()
		default:
			r.spare = sb
		}
	})
}

// Close lets go of the namespace; there will be none in reserve any more.
func (r *Reserve) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.spare != nil {
		r.spare.close()
		r.spare = nil
	}
}

func (sb *Sandbox) close() {
	sb.Conn.Close()
	sb.File.Close()
}
