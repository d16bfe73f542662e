package container

import (
	"context"
	"errors"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/runtime"
)

// Start runs a container and returns after the execve of its command. A running
// one is fault.NotModified. A command that is missing or cannot be executed is
// fault.Invalid; the container then keeps exit code 127 or 126 and the reason.
func (s *Service) Start(ctx context.Context, ref string) error { return s.StartFrom(ctx, ref, "") }

// StartFrom is Start, from the images of a checkpoint if a directory is named.
func (s *Service) StartFrom(ctx context.Context, ref, images string) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	switch e.Record().State.Status {
	case container.StateRunning:
		return fault.New(fault.NotModified, "container %s is running already", e.ID)
	case container.StatePaused:
		return fault.New(fault.Conflict, "cannot start a paused container, try unpause instead")
	case container.StateRemoving, container.StateDead:
		return fault.New(fault.Conflict, "container is marked for removal and cannot be started")
	}
	e.StopTimer()
	e.Images = images
	defer func() { e.Images = "" }()
	// From here on a client that goes away changes nothing.
	return s.start(context.WithoutCancel(ctx), e, func(r *Record) { r.State.RestartCount, r.State.Stopped = 0, false })
}

// start runs a container whose lock is held. also is applied to the new record.
func (s *Service) start(ctx context.Context, e *index.Entry, also func(*Record)) error {
	if s.work.Closing() {
		return fault.New(fault.Unavailable, "container %s cannot start: the engine is stopping", e.ID)
	}
	e.Starting.Store(true)
	defer e.Starting.Store(false)
	defaults := s.defaults.Load()
	remap, err := defaults.Own.Of(e.Record().HostConfig, defaults.Remap)
	if err != nil {
		return err
	}
	m, err := e.Begin(container.StateRunning, func(r *Record) {
		r.State.Error, r.State.ExitCode, r.State.OOMKilled = "", 0, false
		r.State.StartedAt = time.Now().UTC()
		r.State.Remap, r.State.Cgroup = remap, s.paths.NextCgroup(r)
		membership.NoteNetworks(r, s.Networks)
		if health.Command(r.Config) != nil {
			r.State.Health = health.Begun(r.State.Health)
		}
		if also != nil {
			also(r)
		}
	})
	if err != nil {
		return err
	}
	sh, err := s.launcher.Launch(ctx, e, m.Next)
	if err != nil {
		return s.startFailed(ctx, e, err)
	}
	failpoint.Hit("container.start.recorded")
	m.Next.State.Pid, m.Next.State.StartedAt = sh.Pid(), sh.StartedAt().UTC()
	r := index.NewRun(sh)
	e.SetRun(r)
	s.attachLate(ctx, e, r)
	links.Moved(s.containers, e.Record(), m.Next, &s.paths, s.log)
	m.Publish()
	s.publish(notice.Mounts(m.Next))
	s.event(m.Next, events.ActionStart, nil)
	s.keepLog(m.Next, false)
	s.supervise(e, r)
	s.probes.Watch(e, r, false)
	return nil
}

// startFailed records why a container does not run. One that is removed at its
// end is removed now.
func (s *Service) startFailed(ctx context.Context, e *index.Entry, cause error) error {
	e.ClosePending()
	code := record.ExitStartFailed
	switch {
	case errors.Is(cause, runtime.ErrNotFound):
		code, cause = record.ExitNotFound, fault.Wrap(fault.Invalid, cause)
	case errors.Is(cause, runtime.ErrNotExecutable):
		code, cause = record.ExitNotExecutable, fault.Wrap(fault.Invalid, cause)
	}
	status := e.Record().State.Status
	if status == container.StateRestarting {
		status = container.StateExited
	}
	auto := e.Record().HostConfig.AutoRemove
	err := s.containers.Change(e, status, !auto, func(r *Record) {
		r.State.ExitCode, r.State.Error, r.State.Pid, r.State.Net = code, cause.Error(), 0, nil
		membership.NoteNetworks(r, s.Networks)
		if status == container.StateExited {
			r.State.FinishedAt = time.Now().UTC()
		}
	})
	e.Notify(WaitResult{StatusCode: int64(code)}, WaitNotRunning, WaitNextExit)
	if auto {
		err = errors.Join(err, s.remove(ctx, e, true))
	}
	if err != nil {
		s.log.Error("record a failed start", "container", e.ID, "error", err)
	}
	return cause
}
