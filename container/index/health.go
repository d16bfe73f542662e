package index

import (
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/record"
)

// Health is the current health; never nil.
func (e *Entry) Health() *container.Health {
	e.mu.Lock()
	h := e.health
	e.mu.Unlock()
	if h == nil {
		h = e.Record().State.Health
	}
	if h == nil {
		h = health.Begun(nil)
	}
	return h
}

// SetHealth keeps the health that a probe of a run found, in memory only; ok is
// false if that run is over.
func (e *Entry) SetHealth(r *Run, h *container.Health) (ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run != r {
		return false
	}
	e.health = h
	return true
}

// EndHealth is the health of a container whose run is over.
func (e *Entry) EndHealth() *container.Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.health
	if h == nil {
		h = e.Record().State.Health
	}
	e.health = nil
	return health.Ended(h)
}

// Shown is the record with the latest health: single probes are not saved.
func (e *Entry) Shown() *record.Record {
	r := e.Record()
	if r.State.Health == nil {
		return r
	}
	e.mu.Lock()
	h := e.health
	e.mu.Unlock()
	if h == nil {
		return r
	}
	r = r.Clone()
	r.State.Health = h
	return r
}
