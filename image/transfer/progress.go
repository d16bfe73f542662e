package transfer

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
)

// reportEvery is how often progress is looked at: fast enough for an eye.
const reportEvery = 100 * time.Millisecond

// The phases of a layer, in the order in which it passes them.
const (
	queued int32 = iota
	waiting
	moving // downloading or uploading
	verifying
	moved
	extracting
	complete
	skipped // nothing was to do
)

// part is one layer as users see it. Whoever works on it sets the fields; a
// reporter tells what has changed.
type part struct {
	id    string
	size  int64
	done  atomic.Int64
	phase atomic.Int32
	note  atomic.Pointer[string] // shown once, such as a retry; or how it was skipped
}

func (p *part) enter(phase int32) { p.phase.Store(phase) }

func (p *part) say(text string) { p.note.Store(&text) }

// words are the statuses of a direction; an empty one is not shown.
type words [skipped + 1]string

var pullWords = words{"Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete", "Already exists"}

var pushWords = words{"Preparing", "Waiting", "Pushing", "", "", "", "Pushed", "Layer already exists"}

// output writes Docker's JSON stream. It is safe for concurrent use.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *output) message(m jsonstream.Message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.w.Write(append(raw, "\r\n"...)); err != nil {
		return fmt.Errorf("report progress: %w", err)
	}
	return nil
}

func (o *output) status(id, format string, args ...any) error {
	return o.message(jsonstream.Message{ID: id, Status: fmt.Sprintf(format, args...)})
}

// reporter tells about the parts of one transfer until it is stopped.
type reporter struct {
	out   *output
	words *words
	parts []*part
	shown []shown
	quit  chan struct{}
	ended chan struct{}
}

type shown struct {
	phase int32 // the last one told of; -1 for none
	bytes int64
}

// report begins to tell about parts.
func report(out *output, w *words, parts []*part) *reporter {
	r := &reporter{out: out, words: w, parts: parts, quit: make(chan struct{}), ended: make(chan struct{})}
	for range parts {
		r.shown = append(r.shown, shown{phase: -1})
	}
	r.look()
	go r.run()
	return r
}

func (r *reporter) run() {
	defer close(r.ended)
	t := time.NewTicker(reportEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.look()
		case <-r.quit:
			r.look()
			return
		}
	}
}

// stop tells the last state and returns when it is told.
func (r *reporter) stop() {
	close(r.quit)
	<-r.ended
}

func (r *reporter) look() {
	for i, p := range r.parts {
		r.lookAt(p, &r.shown[i])
	}
}

// lookAt tells what a part went through since the last time. A client that does
// not listen is noticed elsewhere: its request ends.
func (r *reporter) lookAt(p *part, s *shown) {
	phase, done := p.phase.Load(), p.done.Load()
	if phase == skipped {
		if s.phase < skipped {
			text := r.words[skipped]
			if note := p.note.Load(); note != nil {
				text = *note
			}
			_ = r.out.status(p.id, "%s", text)
			s.phase = phase
		}
		return
	}
	for step := s.phase + 1; step <= phase; step++ {
		if step == waiting && phase > waiting || r.words[step] == "" {
			continue // over before anybody looked
		}
		m := jsonstream.Message{ID: p.id, Status: r.words[step]}
		switch step {
		case moving:
			m.Progress = &jsonstream.Progress{Current: done, Total: p.size}
		case extracting:
			m.Progress = &jsonstream.Progress{Current: p.size, Total: p.size}
		}
		_ = r.out.message(m)
	}
	if phase == moving && s.phase == moving && done != s.bytes {
		_ = r.out.message(jsonstream.Message{ID: p.id, Status: r.words[moving], Progress: &jsonstream.Progress{Current: done, Total: p.size}})
	}
	if note := p.note.Swap(nil); note != nil {
		_ = r.out.status(p.id, "%s", *note)
	}
	s.phase, s.bytes = max(phase, s.phase), done
}
