// Package event is the engine's event bus. Domain packages publish what happened
// to an object; the API's /events and the engine's own watchers subscribe.
//
// Publishing never blocks: every subscriber has a bounded queue of its own, and
// one that falls behind by more than queueLimit events is ended with ErrSlow,
// because a stream that ends can be resumed with `since` while a silent gap
// cannot be noticed. The bus keeps the last events (some thousands) for `since` in
// a journal of bounded size, which outlives the daemon after Keep.
package event

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/sampan-containers/sampan/event/filter"
)

const queueLimit = 4096

var (
	// ErrSlow ends a subscription whose reader fell too far behind.
	ErrSlow = errors.New("the reader of the event stream is too slow; subscribe again with since")
	// ErrClosed ends a subscription after Close.
	ErrClosed = errors.New("the event stream is closed")
)

// Bus distributes events. The zero value is not usable, call New.
type Bus struct {
	mu      sync.Mutex
	journal *journal
	saved   string // the journal's file for the time after a reboot
	last    int64  // TimeNano of the latest event, so that times never go back
	subs    map[*Subscription]struct{}
}

// New returns an empty bus.
func New() *Bus {
	return &Bus{journal: newJournal(), subs: map[*Subscription]struct{}{}}
}

// Publish stamps m (scope "local" and the time, where they are unset) and hands
// it to all subscribers. The caller must not change m's attributes afterwards.
func (b *Bus) Publish(m events.Message) {
	if m.Scope == "" {
		m.Scope = "local"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.TimeNano == 0 {
		// A client resumes with the time of the last event it saw; after a
		// clock step backwards that must still mean "everything newer".
		m.TimeNano = max(time.Now().UnixNano(), b.last+1)
		m.Time = m.TimeNano / int64(time.Second)
	}
	b.last = max(b.last, m.TimeNano)
	if raw, err := json.Marshal(&m); err == nil {
		b.journal.add(raw)
	}
	for s := range b.subs {
		if !s.match(m) {
			continue
		}
		if !s.push(m) {
			delete(b.subs, s)
		}
	}
}

// Emit publishes an event of the given type, action and object.
func (b *Bus) Emit(t events.Type, a events.Action, id string, attributes map[string]string) {
	b.Publish(events.Message{Type: t, Action: a, Actor: events.Actor{ID: id, Attributes: attributes}})
}

// Subscribers returns the number of open subscriptions.
func (b *Bus) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// Past returns the remembered events between since and until (a zero bound is
// open) that pass f. Without any bound it returns nothing, as Docker does.
func (b *Bus) Past(since, until time.Time, f filter.Args) []events.Message {
	if since.IsZero() && until.IsZero() {
		return nil
	}
	b.mu.Lock()
	raw := b.journal.copyAll()
	b.mu.Unlock()
	return past(raw, since, until, f)
}

func past(raw []byte, since, until time.Time, f filter.Args) []events.Message {
	var found []events.Message
	each(raw, func(m events.Message) bool {
		if (since.IsZero() || m.TimeNano >= since.UnixNano()) && (until.IsZero() || m.TimeNano <= until.UnixNano()) && Match(f, m) {
			found = append(found, m)
		}
		return true
	})
	return found
}

// Subscribe returns a stream of the events that pass f: first the remembered
// ones from since on (none when since and until are zero), then the new ones,
// without a gap between the two. until bounds the remembered ones only; the
// caller ends the stream by its context. Close must be called.
func (b *Bus) Subscribe(since, until time.Time, f filter.Args) *Subscription {
	s := &Subscription{bus: b, filter: f, wake: make(chan struct{}, 1)}
	var raw []byte
	b.mu.Lock()
	if !since.IsZero() || !until.IsZero() {
		raw = b.journal.copyAll()
	}
	b.subs[s] = struct{}{}
	b.mu.Unlock()
	s.past = past(raw, since, until, f) // what comes meanwhile waits in the queue
	return s
}

// Subscription is one reader's queue of events. Next is for one goroutine.
type Subscription struct {
	bus    *Bus
	filter filter.Args
	wake   chan struct{}
	past   []events.Message // come before the queue; only Next touches them

	mu    sync.Mutex
	queue []events.Message
	err   error
}

func (s *Subscription) match(m events.Message) bool { return Match(s.filter, m) }

// push reports false when the subscription has ended.
func (s *Subscription) push(m events.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && len(s.queue) >= queueLimit {
		s.err, s.queue = ErrSlow, nil
	}
	if s.err == nil {
		s.queue = append(s.queue, m)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.err == nil
}

// Next waits for the next event. It returns ctx's error, ErrSlow or ErrClosed
// when the stream has ended.
func (s *Subscription) Next(ctx context.Context) (events.Message, error) {
	if len(s.past) > 0 {
		m := s.past[0]
		s.past[0] = events.Message{}
		s.past = s.past[1:]
		return m, nil
	}
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			m := s.queue[0]
			s.queue[0] = events.Message{}
			if s.queue = s.queue[1:]; len(s.queue) == 0 {
				s.queue = nil // give a burst's memory back
			}
			s.mu.Unlock()
			return m, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return events.Message{}, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return events.Message{}, ctx.Err()
		}
	}
}

// Close ends the subscription; it may be called more than once.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	delete(s.bus.subs, s)
	s.bus.mu.Unlock()
	s.mu.Lock()
	if s.err == nil {
		s.err, s.queue = ErrClosed, nil
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
