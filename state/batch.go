package state

import (
	"runtime"

	"go.etcd.io/bbolt"
)

// change is one caller's part of a shared commit.
type change struct {
	apply func(*Tx) error
	done  func(error)
}

// Batch is Update for small changes that come many at once, as those of twenty
// containers that start together: changes that wait while another one commits
// share the next commit. f may run more than once, so it must have no effect
// beside its transaction.
func (s *Store) Batch(f func(*Tx) error) error {
	result := make(chan error, 1)
	if s.enqueue(change{f, func(err error) { result <- err }}) {
		// Who is about to ask as well gets into this commit.
		runtime.Gosched()
		s.commit()
	}
	return <-result
}

// Later is Batch without the wait: for what a restarted daemon finds out by
// itself. It is committed before, or together with, every Batch that is called
// after it; failed gets the error, if there is one.
func (s *Store) Later(f func(*Tx) error, failed func(error)) {
	done := func(err error) {
		if err != nil {
			failed(err)
		}
	}
	if s.enqueue(change{f, done}) {
		s.committing.Go(s.commit)
	}
}

// enqueue adds a change. The caller must commit if it returns true; otherwise
// somebody is about to.
func (s *Store) enqueue(c change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, c)
	if s.busy {
		return false
	}
	s.busy = true
	return true
}

// commit commits what is queued. What arrives meanwhile is committed by a
// goroutine, so that nobody works longer for others than for himself.
func (s *Store) commit() {
	s.mu.Lock()
	batch := s.queue
	s.queue = nil
	s.mu.Unlock()
	s.apply(batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.busy = false
		return
	}
	s.committing.Go(s.commit)
}

// apply commits all changes together. If that fails, each is tried alone, so
// that one that is refused harms no other.
func (s *Store) apply(batch []change) {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		for _, c := range batch {
			if err := c.apply(&Tx{tx}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range batch {
		if err == nil || len(batch) == 1 {
			c.done(err)
			continue
		}
		c.done(s.Update(c.apply))
	}
}
