package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/execs"
	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/stream"
	"github.com/sampan-containers/sampan/shim/handle"
)

const (
	// codeProbeFailed is the exit code of a probe that did not run to its end.
	codeProbeFailed = -1
	// outputGrace is how long a probe's output may outlast its process.
	outputGrace = time.Second
	// healthSave bounds the wait for the container's lock when its health is saved.
	healthSave = 5 * time.Second
)

// watchHealth probes a container until its run ends. soon: the first probe comes
// at once, as after a restart of the daemon.
func (s *Service) watchHealth(e *entry, r *run, soon bool) {
	rec := e.record()
	command := health.Command(rec.Config)
	if command == nil {
		return
	}
	p := health.PolicyOf(rec.Config.Healthcheck)
	started := rec.State.StartedAt
	s.wait.Go(func() {
		wait := p.Wait(container.Starting, time.Since(started))
		if soon {
			wait = 0
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-r.shim.Done():
				return
			case <-s.ending.Done():
				return
			}
			status := s.check(e, r, &p, command)
			timer.Reset(p.Wait(status, time.Since(started)))
		}
	})
}

// check runs one probe and takes its result in. A paused container is not
// probed, and a probe that a pause or the end caught does not count.
func (s *Service) check(e *entry, r *run, p *health.Policy, command []string) container.HealthStatus {
	counts := func() bool {
		select {
		case <-r.shim.Done():
			return false
		case <-s.ending.Done():
			return false
		default:
			return e.record().State.Status == container.StateRunning
		}
	}
	if !counts() {
		return e.healthNow().Status
	}
	result := s.probe(e, r, command, p.Timeout)
	if !counts() {
		return e.healthNow().Status
	}
	last := e.healthNow()
	next := p.Next(last, e.record().State.StartedAt, result)
	e.mu.Lock()
	if e.run != r {
		e.mu.Unlock()
		return last.Status
	}
	e.health = next
	e.mu.Unlock()
	if next.Status != last.Status {
		s.saveHealth(e, r, next)
		s.event(e.record(), events.Action(string(events.ActionHealthStatus)+": "+string(next.Status)), nil)
	}
	return next.Status
}

// healthNow is the current health; never nil.
func (e *entry) healthNow() *container.Health {
	e.mu.Lock()
	h := e.health
	e.mu.Unlock()
	if h == nil {
		h = e.record().State.Health
	}
	if h == nil {
		h = health.Begun(nil)
	}
	return h
}

// shown is the record with the latest health: single probes are not saved.
func (e *entry) shown() *Record {
	r := e.record()
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

// saveHealth puts a changed status into the store, for the next daemon. A lock
// that is busy for long costs only that.
func (s *Service) saveHealth(e *entry, r *run, h *container.Health) {
	ctx, cancel := context.WithTimeout(s.ending, healthSave)
	defer cancel()
	if err := e.acquire(ctx); err != nil {
		return
	}
	defer e.release()
	if e.current() != r {
		return
	}
	rec := e.record()
	if err := s.change(e, rec.State.Status, !rec.HostConfig.AutoRemove, func(n *Record) { n.State.Health = h }); err != nil {
		s.log.Warn("record the health of a container", "container", e.id, "error", err)
	}
}

// endHealth is the health of a container whose run is over.
func (e *entry) endHealth() *container.Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.health
	if h == nil {
		h = e.record().State.Health
	}
	e.health = nil
	return health.Ended(h)
}

// probe runs the command in the container and waits for its end, at most for
// the time-out; then it is killed.
func (s *Service) probe(e *entry, r *run, command []string, timeout time.Duration) *container.HealthcheckResult {
	result := &container.HealthcheckResult{Start: time.Now(), ExitCode: codeProbeFailed}
	defer func() { result.End = time.Now() }()
	ctx, cancel := context.WithTimeout(s.ending, timeout)
	defer cancel()
	x := &execs.Exec{ID: request.NewID(), Container: e.id, Shim: r.shim,
		Request: &container.ExecCreateRequest{Cmd: command, AttachStdout: true, AttachStderr: true}}
	s.execEvent(e, x, events.ActionExecCreate, true, nil)
	req, err := s.execRequest(e, x, ExecStartOptions{Detach: true})
	if err != nil {
		result.Output = err.Error()
		return result
	}
	ours, theirs, err := stream.Pair()
	if err != nil {
		result.Output = err.Error()
		return result
	}
	defer ours.Close()
	req.Attach = &handle.Attach{Conn: theirs, Stdout: true, Stderr: true}
	output := collect(ours)
	s.execEvent(e, x, events.ActionExecStart, true, nil)
	code, err := s.probeExit(ctx, x, r, req)
	if err == nil {
		s.execEvent(e, x, events.ActionExecDie, false, map[string]string{"exitCode": strconv.Itoa(code)})
	}
	select {
	case <-output.done:
	case <-time.After(outputGrace): // something it left running holds the stream
	}
	ours.Close()
	<-output.done
	result.Output = strings.ToValidUTF8(output.text.String(), "\uFFFD")
	switch {
	case ctx.Err() != nil:
		reason := fmt.Sprintf("Health check exceeded timeout (%v)", timeout)
		if result.Output != "" {
			reason += ": " + result.Output
		}
		result.Output = reason
	case err != nil:
		result.Output = err.Error()
	default:
		result.ExitCode = code
	}
	return result
}

// probeExit starts the probe and returns its exit code.
func (s *Service) probeExit(ctx context.Context, x *execs.Exec, r *run, req handle.ExecRequest) (int, error) {
	if _, err := r.shim.Exec(ctx, req); err != nil {
		return 0, err
	}
	st, err := r.shim.ExecWait(ctx, x.ID)
	if ctx.Err() == nil || s.ending.Err() != nil {
		return st.ExitCode, err
	}
	ctx, cancel := context.WithTimeout(s.ending, killWait)
	defer cancel()
	if err := r.shim.ExecSignal(ctx, x.ID, syscall.SIGKILL); err != nil {
		return 0, err
	}
	st, err = r.shim.ExecWait(ctx, x.ID)
	return st.ExitCode, err
}

// collected is the beginning of a probe's output.
type collected struct {
	text bytes.Buffer // complete once done is closed
	done chan struct{}
}

// collect reads a stream to its end and keeps the beginning.
func collect(r io.Reader) *collected {
	c := &collected{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		n, err := io.CopyN(&c.text, r, health.MaxOutput)
		if n == health.MaxOutput && err == nil {
			if more, err := io.Copy(io.Discard, r); more > 0 || err != nil && !errors.Is(err, io.EOF) {
				c.text.WriteString("...")
			}
		}
	}()
	return c
}
