package index

import (
	"sync"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

// guestWait is how long a start waits for those who still read the files of the
// container's last run. Their work is broken off when that run ends.
const guestWait = 10 * time.Second

// Guests counts who works on the root of a running container. The root stays
// mounted while it is open, and an overlay's upper directory must not be mounted
// twice, so the next start waits for them.
type Guests struct {
	mu   sync.Mutex
	n    int
	gone chan struct{}
}

// Enter is called before the root is opened.
func (g *Guests) Enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n++; g.n == 1 {
		g.gone = make(chan struct{})
	}
}

// Leave is called after it was closed.
func (g *Guests) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 {
		close(g.gone)
	}
}

// Wait returns when nobody is left, or fault.Conflict after a while.
func (g *Guests) Wait(id string) error {
	g.mu.Lock()
	gone, n := g.gone, g.n
	g.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-time.After(guestWait):
		return fault.New(fault.Conflict, "container %s: a copy of its files from the last run has not ended yet; end it, or try again later", id)
	}
}
