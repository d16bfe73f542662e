package container

import (
	"context"
	"errors"
	"os"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// Remove deletes a container. A running one is fault.Conflict unless Force is set.
func (s *Service) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	if o.Link {
		return notYet("links between containers are not available")
	}
	e, err := s.find(ref)
	if err != nil {
		return err
	}
	if st := e.record().State; st.Running() || st.Status == container.StateRestarting {
		if !o.Force {
			if st.Status == container.StatePaused {
				return fault.New(fault.Conflict, "cannot remove container %q: container is paused and must be unpaused first", "/"+e.record().Name)
			}
			return fault.New(fault.Conflict, "cannot remove container %q: container is running: stop the container before removing or force remove", "/"+e.record().Name)
		}
		if err := s.forceEnd(ctx, e); err != nil {
			return err
		}
	}
	if err := e.acquire(ctx); err != nil {
		if e.isRemoved() {
			return nil // by --rm, at the end we just brought about
		}
		return err
	}
	defer e.release()
	if e.record().State.Running() {
		return fault.New(fault.Conflict, "cannot remove container %q: it was started again meanwhile", "/"+e.record().Name)
	}
	e.stopTimer()
	return s.remove(context.WithoutCancel(ctx), e, o.Volumes)
}

// remove deletes a container that has no processes; the lock is held. First the
// record and the name go in one commit, then the files: a crash in between
// leaves directories without a record, which the next start sweeps. For --rm
// both go side by side, since a record without files is removed as well there.
func (s *Service) remove(ctx context.Context, e *entry, volumes bool) error {
	if err := s.change(e, container.StateRemoving, false, nil); err != nil {
		return err
	}
	rec := e.record()
	s.Supervisor.Dismiss(rec.ID)
	forget := func() error {
		return s.Store.Batch(func(tx *state.Tx) error {
			err := errors.Join(tx.Delete(bucket, rec.ID), tx.Delete(namesBucket, rec.Name))
			if rec.HostConfig.AutoRemove {
				err = errors.Join(err, s.departed.put(tx, rec))
			}
			return err
		})
	}
	files := func() error {
		return errors.Join(s.Snapshots.Remove(ctx, rec.ID), os.RemoveAll(s.runDir(rec.ID)))
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
		deadErr := s.change(e, container.StateDead, false, func(r *Record) { r.State.Error = err.Error() })
		return errors.Join(fault.New(fault.Unavailable, "remove container %s: %w (try again)", rec.ID, err), deadErr)
	}
	s.drop(e)
	if volumes {
		if err := s.removeVolumes(rec.Anonymous()); err != nil {
			s.log.Error("remove the volumes of a container", "container", e.id, "error", err)
		}
	}
	s.event(rec, events.ActionDestroy, nil)
	e.notify(WaitResult{StatusCode: int64(rec.State.ExitCode)}, WaitNotRunning, WaitNextExit, WaitRemoved)
	return nil
}

// drop takes a container out of the indexes.
func (s *Service) drop(e *entry) {
	rec := e.record()
	s.mu.Lock()
	delete(s.byID, rec.ID)
	if s.names[rec.Name] == rec.ID {
		delete(s.names, rec.Name)
	}
	s.mu.Unlock()
	e.mu.Lock()
	e.removed = true
	e.mu.Unlock()
	closeAll(e.takePending())
	s.execs.Forget(e.id)
}
