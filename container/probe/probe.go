// Package probe runs the health checks of containers: at intervals a command in the
// container, its output and exit code, or a connection to one of its ports, and the
// health that follows. The rules
// are package health's; this package keeps the result in the index and tells it.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/background"
	"github.com/sampan-containers/sampan/container/execs"
	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/stream"
	"github.com/sampan-containers/sampan/shim/handle"
)

const (
	// codeProbeFailed is the exit code of a probe that did not run to its end.
	codeProbeFailed = -1
	// outputGrace is how long a probe's output may outlast its process.
	outputGrace = time.Second
	// killWait bounds the wait for the end of a probe that was killed.
	killWait = 5 * time.Second
	// healthSave bounds the wait for the container's lock when its health is saved.
	healthSave = 5 * time.Second
)

// Dependencies are what probes stand on.
type Dependencies struct {
	Containers *index.Index
	Events     notice.Publisher
	Work       *background.Work
	Spec       ocispec.Defaults
	Log        *slog.Logger
	// Unhealthy does what the container's health action says; it does not wait.
	Unhealthy func(*index.Entry, *index.Run)
}

// Probes are those of the containers of one index.
type Probes struct{ d Dependencies }

// New returns probes of which none runs yet.
func New(d Dependencies) *Probes { return &Probes{d} }

// Watch probes a container until its run ends. soon: the first probe comes
// at once, as after a restart of the daemon.
func (s *Probes) Watch(e *index.Entry, r *index.Run, soon bool) {
	rec := e.Record()
	command := health.Command(rec.Config)
	if command == nil {
		return
	}
	p := health.PolicyOf(rec.Config.Healthcheck)
	started := rec.State.StartedAt
	probe := func() *container.HealthcheckResult { return s.probe(e, r, command, p.Timeout) }
	end := func() {}
	if check, ok := health.DirectOf(rec.Config); ok {
		d := &direct{s: s, check: check}
		probe, end = func() *container.HealthcheckResult { return d.probe(e, r, p.Timeout) }, d.close
	}
	s.d.Work.Go(func() {
		defer end()
		wait := p.Wait(container.Starting, time.Since(started))
		if soon {
			wait = 0
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-r.Shim.Done():
				return
			case <-s.d.Work.Ending().Done():
				return
			}
			status := s.check(e, r, &p, probe)
			timer.Reset(p.Wait(status, time.Since(started)))
		}
	})
}

// check runs one probe and takes its result in. A paused container is not
// probed, and a probe that a pause or the end caught does not count.
func (s *Probes) check(e *index.Entry, r *index.Run, p *health.Policy, probe func() *container.HealthcheckResult) container.HealthStatus {
	counts := func() bool {
		select {
		case <-r.Shim.Done():
			return false
		case <-s.d.Work.Ending().Done():
			return false
		default:
			return e.Record().State.Status == container.StateRunning
		}
	}
	if !counts() {
		return e.Health().Status
	}
	result := probe()
	if !counts() {
		return e.Health().Status
	}
	last := e.Health()
	next := p.Next(last, e.Record().State.StartedAt, result)
	if !e.SetHealth(r, next) {
		return last.Status
	}
	if next.Status != last.Status {
		s.saveHealth(e, r, next)
		s.d.Events.Publish(notice.Container(e.Record(), events.Action(string(events.ActionHealthStatus)+": "+string(next.Status)), nil))
		if next.Status == container.Unhealthy && s.d.Unhealthy != nil {
			s.d.Unhealthy(e, r)
		}
	}
	return next.Status
}

// saveHealth puts a changed status into the store, for the next daemon. A lock
// that is busy for long costs only that.
func (s *Probes) saveHealth(e *index.Entry, r *index.Run, h *container.Health) {
	ctx, cancel := context.WithTimeout(s.d.Work.Ending(), healthSave)
	defer cancel()
	if err := e.Acquire(ctx); err != nil {
		return
	}
	defer e.Release()
	if e.Run() != r {
		return
	}
	rec := e.Record()
	if err := s.d.Containers.Change(e, rec.State.Status, !rec.HostConfig.AutoRemove, func(n *record.Record) { n.State.Health = h }); err != nil {
		s.d.Log.Warn("record the health of a container", "container", e.ID, "error", err)
	}
}

// probe runs the command in the container and waits for its end, at most for
// the time-out; then it is killed.
func (s *Probes) probe(e *index.Entry, r *index.Run, command []string, timeout time.Duration) *container.HealthcheckResult {
	result := &container.HealthcheckResult{Start: time.Now(), ExitCode: codeProbeFailed}
	defer func() { result.End = time.Now() }()
	ctx, cancel := context.WithTimeout(s.d.Work.Ending(), timeout)
	defer cancel()
	x := &execs.Exec{ID: request.NewID(), Container: e.ID, Shim: r.Shim,
		Request: &container.ExecCreateRequest{Cmd: command, AttachStdout: true, AttachStderr: true}}
	s.d.Events.Publish(execs.Notice(e.Record(), x, events.ActionExecCreate, true, nil))
	req, err := execs.Compose(e.Record(), links.Environment(s.d.Containers, e.Record()), x, s.d.Spec, execs.StartOptions{Detach: true})
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
	s.d.Events.Publish(execs.Notice(e.Record(), x, events.ActionExecStart, true, nil))
	code, err := s.probeExit(ctx, x, r, req)
	if err == nil {
		s.d.Events.Publish(execs.Notice(e.Record(), x, events.ActionExecDie, false, map[string]string{"exitCode": strconv.Itoa(code)}))
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
func (s *Probes) probeExit(ctx context.Context, x *execs.Exec, r *index.Run, req handle.ExecRequest) (int, error) {
	if _, err := r.Shim.Exec(ctx, req); err != nil {
		return 0, err
	}
	st, err := r.Shim.ExecWait(ctx, x.ID)
	if ctx.Err() == nil || s.d.Work.Ending().Err() != nil {
		return st.ExitCode, err
	}
	ctx, cancel := context.WithTimeout(s.d.Work.Ending(), killWait)
	defer cancel()
	if err := r.Shim.ExecSignal(ctx, x.ID, syscall.SIGKILL); err != nil {
		return 0, err
	}
	st, err = r.Shim.ExecWait(ctx, x.ID)
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
