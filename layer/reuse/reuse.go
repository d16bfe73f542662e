// Package reuse keeps large memory of work that has ended for the next of its kind.
package reuse

import "sync"

// Pool keeps values as long as any of them is in use: an idle daemon holds none, and
// the garbage collector takes none of them away in the middle of a pull, as it would
// from a sync.Pool. The zero value is ready.
type Pool[T any] struct {
	mu    sync.Mutex
	inUse int
	free  []*T
}

// Get returns a value that was put back, or a new one: the zero value.
func (p *Pool[T]) Get() *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inUse++
	if n := len(p.free); n > 0 {
		v := p.free[n-1]
		p.free = p.free[:n-1]
		return v
	}
	return new(T)
}

// Put ends one Get. nil says that somebody may still use its memory.
func (p *Pool[T]) Put(v *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v != nil {
		p.free = append(p.free, v)
	}
	if p.inUse--; p.inUse == 0 {
		p.free = nil
	}
}
