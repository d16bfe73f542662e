package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-containers/sampan/container/bootorder"
	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/shm"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/exitrecord"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

const (
	// restoreWidth is how many containers are looked at side by side.
	restoreWidth = 32
	// connectWait bounds the wait for one shim: a stopped one must not hold up
	// the daemon's start.
	connectWait = 2 * time.Second
	// chaseEvery is the pace at which a shim that did not answer is tried again.
	chaseEvery = time.Second
	// codeUnknown is the exit code of a container whose end nobody could see,
	// as after a power cut.
	codeUnknown = 255
)

// Restore brings the records in line with the machine, once, before the first
// verb: it finds running containers again, settles what ended meanwhile,
// removes what is half made, and starts what its policy wants running. The last
// goes on in the background.
func (s *Service) Restore(ctx context.Context) error {
	s.restoring.Store(true)
	if err := os.MkdirAll(s.paths.Runs(), 0o700); err != nil {
		return err
	}
	if err := s.paths.MakeBase(); err != nil {
		return fmt.Errorf("the layer above every image: %w", err)
	}
	s.sweep(ctx)
	all := s.containers.All()
	found := make([]finding, len(all))
	var g errgroup.Group
	g.SetLimit(restoreWidth)
	for i, e := range all {
		g.Go(func() error { found[i] = s.reconnect(ctx, e); return nil })
	}
	_ = g.Wait() // no function fails: one bad container does not stop the daemon
	var running []string
	for i, e := range all {
		if found[i].run != nil || found[i].silent {
			running = append(running, e.ID)
		}
	}
	if err := s.Networks.Restore(ctx, running); err != nil {
		return err
	}
	for i, e := range all {
		g.Go(func() error { s.resume(ctx, e, found[i]); return nil })
	}
	_ = g.Wait()
	if err := s.Volumes.Sweep(); err != nil {
		s.log.Error("unmount volumes that nobody uses", "error", err)
	}
	s.restoring.Store(false)
	order := bootorder.Order{Containers: s.containers, Work: s.work, Log: s.log, Start: s.startWanted}
	order.Begin(all)
	return nil
}

// finding is what Restore found of a container.
type finding struct {
	run *index.Run
	// silent tells that a shim is there and does not answer: it is stopped, or the
	// machine is busy. Its container is left alone.
	silent bool
}

// reconnect finds the shim of a container, whatever its record says: the daemon
// may have died between a start and its record.
func (s *Service) reconnect(ctx context.Context, e *index.Entry) finding {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	sh, err := s.Supervisor.Connect(ctx, s.paths.RunDir(e.ID))
	if errors.Is(err, fault.NotFound) {
		return finding{}
	}
	if err != nil {
		s.log.Warn("the supervisor of a container does not answer; it is tried again", "container", e.ID, "error", err)
		return finding{silent: true}
	}
	if sh.Pid() == 0 {
		// The daemon died in the middle of the start; nobody was told that it
		// runs. The shim undoes a start that nobody waits for.
		_ = sh.Close()
		return finding{}
	}
	return finding{run: index.NewRun(sh)}
}

// chase tries again to reach a silent shim until it answers or has gone.
func (s *Service) chase(e *index.Entry) {
	s.work.Go(func() {
		for {
			select {
			case <-s.work.Ending().Done():
				return
			case <-time.After(chaseEvery):
			}
			found := s.reconnect(s.work.Ending(), e)
			if found.silent {
				s.volumes.Use(e.Record())
				continue
			}
			if err := e.Acquire(s.work.Ending()); err != nil {
				return
			}
			defer e.Release()
			switch rec := e.Record(); {
			case found.run != nil && e.Run() == nil:
				s.adopt(e, found.run)
			case found.run == nil && rec.State.Running():
				s.settle(s.work.Ending(), e, nil, s.missedExit(rec))
			}
			return
		}
	})
}

// resume takes up a running container, or settles one that is not there.
func (s *Service) resume(ctx context.Context, e *index.Entry, found finding) {
	if err := e.Acquire(ctx); err != nil {
		return
	}
	defer e.Release()
	if found.silent {
		if err := s.containers.Change(e, s.silentState(e.Record()), false, nil); err != nil {
			s.log.Error("keep a container", "container", e.ID, "error", err)
		}
		s.chase(e)
		return
	}
	rec := e.Record()
	if found.run != nil {
		s.adopt(e, found.run)
		return
	}
	if err := s.Groups.Destroy(ctx, s.paths.Cgroup(rec)); err != nil {
		s.log.Error("clean up behind a container that does not run", "container", e.ID, "error", err)
	}
	exit, exitErr := handle.ReadExit(s.paths.ExitPath(e.ID))
	switch {
	case rec.State.Running() && s.neverBegan(rec):
		s.undoStart(rec, e)
	case rec.State.Running():
		s.settle(ctx, e, nil, s.missedExit(rec))
	case rec.HostConfig.AutoRemove && (exitErr == nil || s.wasStarted(rec)):
		// It ended while no daemon was there.
		missed := s.missedExit(rec)
		if err := s.containers.Change(e, rec.State.Status, false, func(n *Record) { n.State.ExitCode = missed.Code }); err != nil {
			s.log.Error("settle a container", "container", e.ID, "error", err)
		}
		if err := s.remove(ctx, e, true); err != nil {
			s.log.Error("remove a container at its end", "container", e.ID, "error", err)
		}
	case exitErr == nil && exit.At.After(rec.State.FinishedAt) && exit.At.After(rec.State.StartedAt):
		s.missedRun(ctx, e, exit)
	case rec.State.Status == container.StateRestarting:
		// Its restart was counted already: what Restore starts at its end includes it.
	}
	if err := shm.RemoveRun(s.paths.RunDir(e.ID)); err != nil {
		s.log.Error("remove a run directory", "container", e.ID, "error", err)
	}
}

// silentState is the state of a container whose shim does not answer: as it was
// recorded, or running where the record does not know of the start.
func (s *Service) silentState(r *Record) container.ContainerState {
	if r.State.Running() {
		return r.State.Status
	}
	return container.StateRunning
}

// adopt makes a container that is found running so in memory and in the store.
func (s *Service) adopt(e *index.Entry, r *index.Run) {
	rec := e.Record()
	s.volumes.Use(rec)
	status := s.frozen(rec)
	durable := rec.State.Status != status && !rec.HostConfig.AutoRemove
	if !rec.State.Running() && status == container.StatePaused {
		// Paused by somebody else; the table has no way there but by running.
		if err := s.containers.Change(e, container.StateRunning, false, nil); err != nil {
			s.log.Error("adopt a running container", "container", e.ID, "error", err)
		}
	}
	err := s.containers.Change(e, status, durable, func(n *Record) {
		n.State.Pid, n.State.StartedAt = r.Shim.Pid(), r.Shim.StartedAt().UTC()
		n.State.ExitCode, n.State.Error = 0, ""
		if n.State.Health == nil && health.Command(n.Config) != nil {
			n.State.Health = health.Begun(nil)
		}
		if joined, err := s.Networks.Joined(n.ID); err == nil {
			n.State.Net = joined
		}
	})
	if err != nil {
		s.log.Error("adopt a running container", "container", e.ID, "error", err)
	}
	e.SetRun(r)
	s.keepLog(rec, true)
	s.supervise(e, r)
	s.Resume(rec, r.Shim)
	s.probes.Watch(e, r, true)
}

// missedExit is how a container ended while no daemon was there.
func (s *Service) missedExit(rec *Record) wire.ExitRecord {
	exit, err := handle.ReadExit(s.paths.ExitPath(rec.ID))
	if err == nil && !exit.At.Before(rec.State.StartedAt.Add(-time.Minute)) {
		return exit
	}
	if _, err := os.Stat(s.paths.RunDir(rec.ID)); err == nil {
		_ = os.Remove(exitrecord.Reserved(s.paths.ExitPath(rec.ID)))
		return wire.ExitRecord{Code: record.ExitKilled, Signal: 9, At: time.Now().UTC(), Error: handle.ErrLost.Error()}
	}
	return wire.ExitRecord{Code: codeUnknown, At: time.Now().UTC(), Error: "the machine went down while the container was running; its exit code is unknown"}
}

// neverBegan tells that a start was recorded and not made: the shim reserves the
// exit record before it launches anything.
func (s *Service) neverBegan(rec *Record) bool {
	if rec.HostConfig.AutoRemove {
		return false // its start is not recorded
	}
	for _, path := range []string{s.paths.ExitPath(rec.ID), exitrecord.Reserved(s.paths.ExitPath(rec.ID))} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	_, err := os.Stat(s.paths.RunDir(rec.ID)) // gone after a reboot
	return err == nil
}

// undoStart brings the record of a start that was cut off in line: what a policy
// keeps running is started again, and that does not count as a restart.
func (s *Service) undoStart(rec *Record, e *index.Entry) {
	status := container.StateExited
	if !rec.HostConfig.RestartPolicy.IsNone() {
		status = container.StateRestarting
	}
	err := s.containers.Change(e, status, true, func(n *Record) {
		n.State.ExitCode, n.State.FinishedAt = record.ExitStartFailed, time.Now().UTC()
		n.State.Error = "the daemon ended while the container was being started; start it again"
	})
	if err != nil {
		s.log.Error("settle a container", "container", e.ID, "error", err)
	}
	if err := s.Networks.Leave(context.Background(), e.ID); err != nil {
		s.log.Error("take a container out of its network", "container", e.ID, "error", err)
	}
	s.volumes.Unmount(rec, e.ID)
}

// wasStarted tells whether a container that is removed at its end, whose starts
// are not recorded, was ever started: every start writes its hostname file. One
// whose directory is gone was being removed when the daemon ended.
func (s *Service) wasStarted(rec *Record) bool {
	if !rec.State.StartedAt.IsZero() {
		return true
	}
	dir := s.paths.DataDir(rec.ID)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "hostname"))
	return err == nil
}

// missedRun records a run whose start the old daemon did not live to record.
func (s *Service) missedRun(ctx context.Context, e *index.Entry, exit wire.ExitRecord) {
	err := s.containers.Change(e, container.StateRunning, false, func(n *Record) { n.State.StartedAt = exit.At })
	if err != nil {
		s.log.Error("settle a container", "container", e.ID, "error", err)
		return
	}
	s.settle(ctx, e, nil, exit)
}

// sweep removes directories that have no record: what a create or a remove left
// that was cut off.
func (s *Service) sweep(ctx context.Context) {
	for _, id := range layout.Directories(filepath.Join(s.opts.DataRoot, "containers")) {
		if s.containers.Known(id) {
			continue
		}
		if err := s.Snapshots.Remove(ctx, id); err != nil {
			s.log.Error("remove the rest of a container", "container", id, "error", err)
		}
	}
	for _, id := range layout.Directories(s.paths.Runs()) {
		if s.containers.Known(id) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, cleanWait)
		err := s.Groups.Destroy(ctx, s.paths.CgroupOf(id))
		cancel()
		if err = errors.Join(err, shm.RemoveRun(s.paths.RunDir(id))); err != nil {
			s.log.Error("remove the rest of a container's run", "container", id, "error", err)
		}
	}
}

// startWanted starts a container for its policy, unless somebody stopped, started
// or removed it meanwhile.
func (s *Service) startWanted(e *index.Entry) {
	ctx := context.Background()
	if err := e.Acquire(ctx); err != nil {
		return
	}
	defer e.Release()
	if s.work.Closing() || !bootorder.Wanted(e.Record()) {
		return
	}
	if err := s.start(ctx, e, nil); err != nil {
		s.log.Error("start a container by its policy", "container", e.ID, "error", err)
	}
}
