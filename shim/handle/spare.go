package handle

import (
	"sync"
	"time"
)

const (
	// spareLife is how long a shim waits for its container: clients that attach
	// or wait before a start send the start at once.
	spareLife = time.Second
	// maxSpares bounds the processes that requests without a start can cause.
	maxSpares = 32
)

// spare is the process of a shim that has no container yet.
type spare struct {
	ready chan struct{} // closed when the process runs or could not be started
	shim  *Shim
	timer *time.Timer
}

// spares are the shims that were started ahead, by the container they are for.
type spares struct {
	mu     sync.Mutex
	of     map[string]*spare
	closed bool
}

// Prepare begins to start the shim of a container, so that it is there when
// Start comes. It returns at once, or with now when the process is on its way: for
// a caller that has nothing else to do yet, and would only wait for a processor to run
// another goroutine. What it began ends by itself when no Start follows. Calling it
// again, or for a container that will not start, is harmless.
func (s *Spawner) Prepare(containerID string, now bool) {
	sp := &spare{ready: make(chan struct{})}
	if !s.spares.add(containerID, sp) {
		return
	}
	begin := func() {
		defer close(sp.ready)
		if conn, cmd, err := s.spawn(containerID); err == nil {
			sp.shim = newShim(containerID, "", conn, cmd)
		} // Start tries again and says what is wrong
	}
	if now {
		begin()
	} else {
		go begin()
	}
}

// add tells whether there was room.
func (l *spares) add(containerID string, sp *spare) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.of) >= maxSpares || l.of[containerID] != nil {
		return false
	}
	if l.of == nil {
		l.of = map[string]*spare{}
	}
	l.of[containerID] = sp
	sp.timer = time.AfterFunc(spareLife, func() {
		if l.remove(containerID, sp) {
			sp.dismiss()
		}
	})
	return true
}

// Dismiss takes a Prepare back: no start follows.
func (s *Spawner) Dismiss(containerID string) {
	if sp := s.spares.take(containerID); sp != nil {
		sp.dismiss()
	}
}

// obtain returns the shim that was prepared, or a new one.
func (s *Spawner) obtain(containerID, runDir string) (*Shim, error) {
	if sp := s.spares.take(containerID); sp != nil {
		<-sp.ready
		if sp.shim != nil {
			sp.shim.runDir = runDir
			return sp.shim, nil
		}
	}
	conn, cmd, err := s.spawn(containerID)
	if err != nil {
		return nil, err
	}
	return newShim(containerID, runDir, conn, cmd), nil
}

func (l *spares) take(containerID string) *spare {
	l.mu.Lock()
	defer l.mu.Unlock()
	sp := l.of[containerID]
	if sp != nil {
		delete(l.of, containerID)
		sp.timer.Stop()
	}
	return sp
}

// remove tells whether sp was still there.
func (l *spares) remove(containerID string, sp *spare) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[containerID] != sp {
		return false
	}
	delete(l.of, containerID)
	return true
}

// close ends the spares and waits for it; there will be no new ones.
func (l *spares) close() {
	l.mu.Lock()
	left := l.of
	l.of, l.closed = nil, true
	l.mu.Unlock()
	for _, sp := range left {
		sp.timer.Stop()
		sp.dismiss()
	}
}

// dismiss ends the process: a shim whose daemon hangs up before it had a
// container has nothing to do.
func (sp *spare) dismiss() {
	<-sp.ready
	if sp.shim != nil {
		sp.shim.drop()
		sp.shim.reap()
	}
}
