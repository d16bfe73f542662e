package container

import (
	"context"
	"fmt"
	"os"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/stream"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/handle"
)

// Attach hands the client's connection to the container's shim, now or at its
// next start, and returns when it did: the stream does not run through the
// daemon and survives it.
func (s *Service) Attach(ctx context.Context, ref string, o AttachOptions) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	keys, err := request.DetachKeys(o.DetachKeys)
	if err != nil {
		return err
	}
	rec := e.Record()
	switch rec.State.Status {
	case container.StatePaused:
		return fault.New(fault.Conflict, "container %s is paused, unpause the container before attach", e.ID)
	case container.StateRestarting:
		return fault.New(fault.Conflict, "container %s is restarting, wait until the container is running", e.ID)
	case container.StateRemoving, container.StateDead:
		return fault.New(fault.Conflict, "container %s is marked for removal", e.ID)
	}
	tty := rec.Config.Tty
	arrived := e.Arrive()
	defer arrived()
	conn, initial, err := o.Hijack(tty)
	if err != nil {
		return err
	}
	a := handle.Attach{Conn: conn, Initial: initial, Stdin: o.Stdin && rec.Config.OpenStdin, Stdout: o.Stdout, Stderr: o.Stderr, Mux: !tty, DetachKeys: keys, End: o.End}
	if o.Logs {
		stream.HeadTaken(ctx, conn) // a client that did not gets its log all the same
		arrived()                   // a client that reads its log slowly must not hold up a start
		if err := s.replay(ctx, rec, conn, o); err != nil {
			conn.Close()
			return err
		}
	}
	s.event(rec, events.ActionAttach, nil)
	if !o.Stream {
		return conn.Close()
	}
	return s.attach(ctx, e, a, arrived)
}

// attach gives the client to the run, or keeps it for the start.
func (s *Service) attach(ctx context.Context, e *index.Entry, a handle.Attach, arrived func()) error {
	r, err := e.Offer(a, func() { s.expectStart(e) })
	arrived()
	if r == nil {
		return err
	}
	return r.Shim.Attach(ctx, a)
}

// attachLate gives a run the clients that came while it was being started.
func (s *Service) attachLate(ctx context.Context, e *index.Entry, r *index.Run) {
	for _, a := range e.TakePending() {
		if err := r.Shim.Attach(ctx, a); err != nil {
			s.log.Warn("attach a client that came during the start", "container", e.ID, "error", err)
		}
	}
}

// expectStart lets a shim come up for a container that somebody attached to or
// waits for before its first start, as `run` does: the start is the next request.
func (s *Service) expectStart(e *index.Entry) {
	if e.Record().State.Status == container.StateCreated && !e.Starting.Load() {
		s.Supervisor.Prepare(e.ID, false)
	}
}

// replay writes what the log holds to a client that asked for it.
func (s *Service) replay(ctx context.Context, rec *Record, conn *os.File, o AttachOptions) error {
	return s.readLog(ctx, rec, LogsOptions{Stdout: o.Stdout, Stderr: o.Stderr, Tail: -1}, nil, func(name string, data []byte) error {
		if !rec.Config.Tty {
			if _, err := conn.Write(stream.Header(name, len(data))); err != nil {
				return err
			}
		}
		_, err := conn.Write(data)
		return err
	})
}

// Resize sets the size of the container's terminal.
func (s *Service) Resize(ctx context.Context, ref string, height, width uint32) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	r, err := e.Live()
	if err != nil {
		return err
	}
	if !e.Record().Config.Tty {
		return nil // as in Docker: without a terminal there is nothing to do
	}
	if err := r.Shim.Resize(ctx, height, width); err != nil {
		return err
	}
	s.event(e.Record(), events.ActionResize, map[string]string{"height": fmt.Sprint(height), "width": fmt.Sprint(width)})
	return nil
}
