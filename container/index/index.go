// Package index keeps the containers of a daemon: their records in memory and in
// the state store, how they are found by name, id and prefix, who may change one,
// and who waits for what becomes of it.
//
// A container is one record in the store and one immutable copy of it behind an
// atomic pointer. Readers load that pointer only, so that a verb stuck on one
// container never delays them. A verb acquires the Entry, does its work and
// changes the record in one place (move.go).
//
// Limits: the index decides nothing; what a verb does is package container's.
package index

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// The buckets of the state store. A name maps to an id.
const (
	bucket      = "containers"
	namesBucket = "names"
)

// Index holds the containers of one data root. All methods are safe for
// concurrent use. A container is named by its name, its id, or an unambiguous
// prefix of its id.
type Index struct {
	store *state.Store
	// passing keeps what ends with this run of the machine anyway: the records of
	// containers that are removed at their end, and how the last of them ended.
	passing *state.Store

	mu    sync.RWMutex // held for look-ups only
	byID  map[string]*Entry
	names map[string]string // name → id, with those being created

	departed departed
}

// Load reads the records of the stores: the durable one, and the one for what
// passes with this run of the machine.
func Load(store, passing *state.Store, log *slog.Logger) (*Index, error) {
	x := &Index{store: store, passing: passing, byID: map[string]*Entry{}, names: map[string]string{}}
	if err := passing.View(x.departed.load); err != nil {
		return nil, err
	}
	for _, from := range []*state.Store{store, passing} {
		var misplaced []*record.Record
		err := from.View(func(tx *state.Tx) error {
			return tx.Each(bucket, func(id string, raw []byte) error {
				var r record.Record
				if err := json.Unmarshal(raw, &r); err != nil || r.ID != id || r.Config == nil || r.HostConfig == nil {
					// One damaged record must not keep the others from starting.
					log.Error("the record of a container is damaged; it is left out", "container", id, "error", err)
					return nil
				}
				x.byID[id] = newEntry(&r)
				x.names[r.Name] = id
				if x.home(&r) != from {
					misplaced = append(misplaced, &r)
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
		for _, r := range misplaced { // by an older version
			err := errors.Join(x.home(r).Update(put(r)), from.Update(drop(r)))
			if err != nil {
				return nil, err
			}
		}
	}
	return x, nil
}

// home is the store that keeps a container's record. One that is removed at its
// end would not outlive a restart of the machine, so its record need not: the
// next daemon removes the files of containers that it does not know. Its
// anonymous volumes would be left then, so one that has any is kept as the others.
func (x *Index) home(r *record.Record) *state.Store {
	if r.HostConfig.AutoRemove && len(r.Anonymous()) == 0 {
		return x.passing
	}
	return x.store
}

// put writes a record and its name.
func put(r *record.Record) func(*state.Tx) error {
	return func(tx *state.Tx) error {
		return errors.Join(tx.Put(namesBucket, r.Name, r.ID), tx.Put(bucket, r.ID, r))
	}
}

// drop takes out a record and its name.
func drop(r *record.Record) func(*state.Tx) error {
	return func(tx *state.Tx) error {
		return errors.Join(tx.Delete(bucket, r.ID), tx.Delete(namesBucket, r.Name))
	}
}

// Find returns a container by name, id or unambiguous prefix of an id.
func (x *Index) Find(ref string) (*Entry, error) {
	name := strings.TrimPrefix(ref, "/")
	x.mu.RLock()
	defer x.mu.RUnlock()
	if e, ok := x.byID[ref]; ok {
		return e, nil
	}
	if e, ok := x.byID[x.names[name]]; ok {
		return e, nil
	}
	var match *Entry
	if isHex(ref) {
		for id, e := range x.byID {
			if !strings.HasPrefix(id, ref) {
				continue
			}
			if match != nil {
				return nil, fault.New(fault.Invalid, "Multiple IDs found with provided prefix: %s", ref)
			}
			match = e
		}
	}
	if match == nil {
		return nil, noSuchContainer(ref)
	}
	return match, nil
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

func noSuchContainer(ref string) error {
	return fault.New(fault.NotFound, "No such container: %s", ref)
}

// Known tells whether there is a container of exactly this id.
func (x *Index) Known(id string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.byID[id]
	return ok
}

// All returns the containers, newest first.
func (x *Index) All() []*Entry {
	x.mu.RLock()
	list := make([]*Entry, 0, len(x.byID))
	for _, e := range x.byID {
		list = append(list, e)
	}
	x.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Entry) int {
		if c := b.Record().Created.Compare(a.Record().Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// NetworkOwner is the container whose hosts and resolv.conf hold: the one whose
// network is joined, through any number of container: links.
func (x *Index) NetworkOwner(rec *record.Record) string {
	const maxHops = 64 // a loop cannot be made, but a store can be damaged
	for range maxHops {
		if !rec.HostConfig.NetworkMode.IsContainer() {
			break
		}
		e, err := x.Find(rec.HostConfig.NetworkMode.ConnectedContainer())
		if err != nil {
			break
		}
		rec = e.Record()
	}
	return rec.ID
}

// Reserve takes a name for an id that is being created. An empty name invents
// one; a taken one is fault.Conflict.
func (x *Index) Reserve(name, id string) (string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if name == "" {
		for attempt := 0; name == "" || x.names[name] != ""; attempt++ {
			name = request.InventName(attempt)
		}
	} else if owner, taken := x.names[name]; taken {
		return "", fault.New(fault.Conflict, `Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.`, "/"+name, owner)
	}
	x.names[name] = id
	return name, nil
}

// Unreserve frees a name if it is that id's.
func (x *Index) Unreserve(name, id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.names[name] == id {
		delete(x.names, name)
	}
}

// Add commits a new container and its reserved name together, and lets it be found.
func (x *Index) Add(rec *record.Record) error {
	if err := x.home(rec).Batch(put(rec)); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byID[rec.ID] = newEntry(rec)
	return nil
}

// Save writes a record durably.
func (x *Index) Save(r *record.Record) error {
	return x.home(r).Batch(func(tx *state.Tx) error { return tx.Put(bucket, r.ID, r) })
}

// SaveWith is Save beside changes of others: also is for their transaction in the
// durable store, if the record lives there, and after must be called once that
// is committed.
func (x *Index) SaveWith(r *record.Record) (also func(*state.Tx) error, after func() error) {
	write := func(tx *state.Tx) error { return tx.Put(bucket, r.ID, r) }
	if x.home(r) == x.store {
		return write, func() error { return nil }
	}
	return nil, func() error { return x.passing.Batch(write) }
}

// SaveRenamed writes a record and its new name, and frees the old one, together.
func (x *Index) SaveRenamed(r *record.Record, old string) error {
	return x.home(r).Batch(func(tx *state.Tx) error {
		return errors.Join(tx.Put(bucket, r.ID, r), tx.Put(namesBucket, r.Name, r.ID), tx.Delete(namesBucket, old))
	})
}

// Forget takes the record and the name out of the store. How one ended that is
// removed at its end is remembered for a while.
func (x *Index) Forget(rec *record.Record) error {
	if rec.HostConfig.AutoRemove {
		// First: a client that finds no container asks how it ended.
		if err := x.passing.Batch(func(tx *state.Tx) error { return x.departed.put(tx, rec) }); err != nil {
			return err
		}
	}
	return x.home(rec).Batch(drop(rec))
}

// Drop lets a container be found no more.
func (x *Index) Drop(e *Entry) {
	rec := e.Record()
	x.mu.Lock()
	delete(x.byID, rec.ID)
	if x.names[rec.Name] == rec.ID {
		delete(x.names, rec.Name)
	}
	x.mu.Unlock()
	e.mu.Lock()
	e.removed = true
	e.mu.Unlock()
}

// Departed tells how a container ended that was removed at its end, by its id or
// a long beginning of it.
func (x *Index) Departed(ref string) (code int, ok bool) { return x.departed.find(ref) }
