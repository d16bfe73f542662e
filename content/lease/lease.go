// Package lease keeps blobs and layers from being deleted while something works
// on them that has no image record yet: a pull, a push, a load, a build.
//
// A lease is a record in the state store, so a transfer that a crash cut off
// finds its finished blobs again: the lease of a dead process holds until it
// expires, or until somebody takes a lease for the same purpose. Who deletes asks
// Held inside the same critical section in which it deletes.
package lease

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/state"
)

const (
	bucket = "leases" // ID → record
	// keepFor is how long what a failed transfer brought waits for a retry.
	keepFor = 24 * time.Hour
)

type record struct {
	Purpose string          `json:"purpose"`
	Expires time.Time       `json:"expires"`
	Blobs   []digest.Digest `json:"blobs,omitempty"`
	Layers  []digest.Digest `json:"layers,omitempty"`
}

// Book is all leases. It is safe for concurrent use, by one process.
type Book struct {
	store *state.Store
	epoch string // tells this process's leases from those of earlier ones

	mu   sync.Mutex
	next uint64
	live map[string]bool
}

// Open returns the leases of a state store.
func Open(store *state.Store) *Book {
	return &Book{store: store, epoch: strconv.FormatInt(time.Now().UnixNano(), 36), live: map[string]bool{}}
}

// Lease is one hold. It is ended by Release, ReleaseIn or Keep.
type Lease struct {
	book *Book
	id   string
	rec  record
}

// Take holds blobs, and layers by diffID, whether they are there yet or not.
// purpose names the work ("pull docker.io/library/web:1"): leases that earlier,
// failed attempts at it left are taken over.
func (b *Book) Take(purpose string, blobs, layers []digest.Digest) (*Lease, error) {
	b.mu.Lock()
	b.next++
	l := &Lease{book: b, id: b.epoch + "-" + strconv.FormatUint(b.next, 10), rec: record{
		Purpose: purpose, Expires: time.Now().Add(keepFor).UTC(), Blobs: blobs, Layers: layers,
	}}
	b.live[l.id] = true
	b.mu.Unlock()
	err := b.store.Update(func(tx *state.Tx) error {
		var stale []string
		err := tx.Each(bucket, func(id string, raw []byte) error {
			var r record
			if err := json.Unmarshal(raw, &r); err != nil {
				return fmt.Errorf("decode lease %s: %w", id, err)
			}
			if r.Purpose == purpose && !b.isLive(id) {
				stale = append(stale, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, id := range stale {
			if err := tx.Delete(bucket, id); err != nil {
				return err
			}
		}
		return tx.Put(bucket, l.id, l.rec)
	})
	if err != nil {
		b.end(l.id)
		return nil, fmt.Errorf("lease for %s: %w", purpose, err)
	}
	return l, nil
}

// Add holds more.
func (l *Lease) Add(blobs, layers []digest.Digest) error {
	l.rec.Blobs = append(l.rec.Blobs, blobs...)
	l.rec.Layers = append(l.rec.Layers, layers...)
	return l.book.store.Update(func(tx *state.Tx) error { return tx.Put(bucket, l.id, l.rec) })
}

// ReleaseIn ends the lease inside the caller's transaction, which records what
// takes its place. The lease is over when that commits.
func (l *Lease) ReleaseIn(tx *state.Tx) error { return tx.Delete(bucket, l.id) }

// Release ends the lease. What only it held can be deleted now. It may follow
// ReleaseIn.
func (l *Lease) Release() error {
	defer l.book.end(l.id)
	return l.book.store.Update(l.ReleaseIn)
}

// Done forgets a lease that ReleaseIn ended, once that has committed.
func (l *Lease) Done() { l.book.end(l.id) }

// Keep ends the work, but holds what it brought for a retry, until it expires.
func (l *Lease) Keep() { l.book.end(l.id) }

func (b *Book) end(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.live, id)
}

func (b *Book) isLive(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.live[id]
}

// Held calls blob and layer for everything that is leased. Leases that nobody
// works under count only if they have not expired at now.
func (b *Book) Held(tx *state.Tx, now time.Time, blob, layer func(digest.Digest)) error {
	return tx.Each(bucket, func(id string, raw []byte) error {
		var r record
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("decode lease %s: %w", id, err)
		}
		if !b.isLive(id) && !now.Before(r.Expires) {
			return nil
		}
		for _, d := range r.Blobs {
			blob(d)
		}
		for _, d := range r.Layers {
			layer(d)
		}
		return nil
	})
}

// Expire removes the records of leases that nobody works under and that end
// before t: time.Now for those that expired, a time far off for all.
func (b *Book) Expire(tx *state.Tx, t time.Time) error {
	var gone []string
	err := tx.Each(bucket, func(id string, raw []byte) error {
		var r record
		if err := json.Unmarshal(raw, &r); err != nil || !b.isLive(id) && !t.Before(r.Expires) {
			gone = append(gone, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := tx.Delete(bucket, id); err != nil {
			return err
		}
	}
	return nil
}
