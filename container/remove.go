package container

import (
	"context"
	"errors"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/shm"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
)

// Remove deletes a container. A running one is fault.Conflict unless Force is set;
// then it is ended, and again if it is started meanwhile.
func (s *Service) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	if o.Link {
		return links.Remove(ctx, s.containers, ref)
	}
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	for {
		if st := e.Record().State; st.Running() || st.Status == container.StateRestarting {
			if !o.Force {
				if st.Status == container.StatePaused {
					return fault.New(fault.Conflict, "cannot remove container %q: container is paused and must be unpaused first", "/"+e.Record().Name)
				}
				return fault.New(fault.Conflict, "cannot remove container %q: container is running: stop the container before removing or force remove", "/"+e.Record().Name)
			}
			if err := s.forceEnd(ctx, e); err != nil {
				return err
			}
		}
		if err := e.Acquire(ctx); err != nil {
			if e.IsRemoved() {
				return nil // by --rm, at the end we just brought about
			}
			return err
		}
		if !e.Record().State.Running() {
			break
		}
		// A start had the lock: somebody's, or that of its restart policy.
		e.Release()
		if !o.Force {
			return fault.New(fault.Conflict, "cannot remove container %q: it was started again meanwhile", "/"+e.Record().Name)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	defer e.Release()
	e.StopTimer()
	return s.remove(context.WithoutCancel(ctx), e, o.Volumes)
}

// remove deletes a container that has no processes; the lock is held. First the
// record and the name go in one commit, then the files: a crash in between
// leaves directories without a record, which the next start sweeps. For --rm
// both go side by side, since a record without files is removed as well there.
func (s *Service) remove(ctx context.Context, e *index.Entry, volumes bool) error {
	if err := s.containers.Change(e, container.StateRemoving, false, nil); err != nil {
		return err
	}
	rec := e.Record()
	s.Supervisor.Dismiss(rec.ID)
	failpoint.Hit("container.remove.begun")
	forget := func() error { return s.containers.Forget(rec) }
	files := func() error {
		failpoint.Hit("container.remove.files")
		return errors.Join(s.Snapshots.Remove(ctx, rec.ID), shm.RemoveRun(s.paths.RunDir(rec.ID)))
	}
	var err error
	if rec.HostConfig.AutoRemove {
		var g errgroup.Group
		g.Go(forget)
		g.Go(files)
		err = g.Wait()
	} else if err = forget(); err == nil {
		err = files()
	}
	if err != nil {
		deadErr := s.containers.Change(e, container.StateDead, false, func(r *Record) { r.State.Error = err.Error() })
		return errors.Join(fault.New(fault.Unavailable, "remove container %s: %w (try again)", rec.ID, err), deadErr)
	}
	failpoint.Hit("container.remove.gone")
	s.drop(e)
	if volumes {
		if err := s.volumes.Remove(rec.Anonymous()); err != nil {
			s.log.Error("remove the volumes of a container", "container", e.ID, "error", err)
		}
	}
	s.event(rec, events.ActionDestroy, nil)
	e.Notify(WaitResult{StatusCode: int64(rec.State.ExitCode)}, WaitNotRunning, WaitNextExit, WaitRemoved)
	return nil
}

// drop lets a container be found no more, and lets go of who waits for its start.
func (s *Service) drop(e *index.Entry) {
	s.containers.Drop(e)
	e.ClosePending()
	s.execs.Forget(e.ID)
}
