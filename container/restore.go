package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/fault"
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
	if err := os.MkdirAll(filepath.Join(s.opts.ExecRoot, "containers"), 0o700); err != nil {
		return err
	}
	s.sweep(ctx)
	all := s.all()
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
			running = append(running, e.id)
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
	s.startByPolicy(all)
	return nil
}

// finding is what Restore found of a container.
type finding struct {
	run *run
	// silent tells that a shim is there and does not answer: it is stopped, or the
	// machine is busy. Its container is left alone.
	silent bool
}

// reconnect finds the shim of a container, whatever its record says: the daemon
// may have died between a start and its record.
func (s *Service) reconnect(ctx context.Context, e *entry) finding {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	sh, err := s.Supervisor.Connect(ctx, s.runDir(e.id))
	if errors.Is(err, fault.NotFound) {
		return finding{}
	}
	if err != nil {
		s.log.Warn("the supervisor of a container does not answer; it is tried again", "container", e.id, "error", err)
		return finding{silent: true}
	}
	if sh.Pid() == 0 {
		// The daemon died in the middle of the start; nobody was told that it
		// runs. The shim undoes a start that nobody waits for.
		_ = sh.Close()
		return finding{}
	}
	return finding{run: &run{shim: sh, settled: make(chan struct{})}}
}

// chase tries again to reach a silent shim until it answers or has gone.
func (s *Service) chase(e *entry) {
	s.wait.Go(func() {
		for {
			select {
			case <-s.ending.Done():
				return
			case <-time.After(chaseEvery):
			}
			found := s.reconnect(s.ending, e)
			if found.silent {
				s.useVolumes(e.record())
				continue
			}
			if err := e.acquire(s.ending); err != nil {
				return
			}
			defer e.release()
			switch rec := e.record(); {
			case found.run != nil && e.current() == nil:
				s.adopt(e, found.run)
			case found.run == nil && rec.State.Running():
				s.settle(s.ending, e, nil, s.missedExit(rec))
			}
			return
		}
	})
}

// resume takes up a running container, or settles one that is not there.
func (s *Service) resume(ctx context.Context, e *entry, found finding) {
	if err := e.acquire(ctx); err != nil {
		return
	}
	defer e.release()
	if found.silent {
		if err := s.change(e, s.silentState(e.record()), false, nil); err != nil {
			s.log.Error("keep a container", "container", e.id, "error", err)
		}
		s.chase(e)
		return
	}
	rec := e.record()
	if found.run != nil {
		s.adopt(e, found.run)
		return
	}
	if err := s.Groups.Destroy(ctx, s.cgroupPath(rec)); err != nil {
		s.log.Error("clean up behind a container that does not run", "container", e.id, "error", err)
	}
	exit, exitErr := handle.ReadExit(s.exitPath(e.id))
	switch {
	case rec.State.Running():
		s.settle(ctx, e, nil, s.missedExit(rec))
	case rec.HostConfig.AutoRemove && (exitErr == nil || s.wasStarted(rec)):
		// It ended while no daemon was there.
		missed := s.missedExit(rec)
		if err := s.change(e, rec.State.Status, false, func(n *Record) { n.State.ExitCode = missed.Code }); err != nil {
			s.log.Error("settle a container", "container", e.id, "error", err)
		}
		if err := s.remove(ctx, e, true); err != nil {
			s.log.Error("remove a container at its end", "container", e.id, "error", err)
		}
	case rec.State.Status == container.StateRestarting:
		if err := s.change(e, container.StateExited, true, nil); err != nil {
			s.log.Error("settle a container", "container", e.id, "error", err)
		}
	case exitErr == nil && exit.At.After(rec.State.FinishedAt) && exit.At.After(rec.State.StartedAt):
		s.missedRun(ctx, e, exit)
	}
	if err := os.RemoveAll(s.runDir(e.id)); err != nil {
		s.log.Error("remove a run directory", "container", e.id, "error", err)
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
func (s *Service) adopt(e *entry, r *run) {
	rec := e.record()
	s.useVolumes(rec)
	status := s.frozen(rec)
	durable := rec.State.Status != status && !rec.HostConfig.AutoRemove
	if !rec.State.Running() && status == container.StatePaused {
		// Paused by somebody else; the table has no way there but by running.
		if err := s.change(e, container.StateRunning, false, nil); err != nil {
			s.log.Error("adopt a running container", "container", e.id, "error", err)
		}
	}
	err := s.change(e, status, durable, func(n *Record) {
		n.State.Pid, n.State.StartedAt = r.shim.Pid(), r.shim.StartedAt().UTC()
		n.State.ExitCode, n.State.Error = 0, ""
		if n.State.Health == nil && health.Command(n.Config) != nil {
			n.State.Health = health.Begun(nil)
		}
		if ep, err := s.Networks.Endpoint(n.ID); err == nil {
			n.State.Endpoint = ep
		}
	})
	if err != nil {
		s.log.Error("adopt a running container", "container", e.id, "error", err)
	}
	e.mu.Lock()
	e.run = r
	e.mu.Unlock()
	s.supervise(e, r)
	s.watchHealth(e, r, true)
}

// missedExit is how a container ended while no daemon was there.
func (s *Service) missedExit(rec *Record) wire.ExitRecord {
	exit, err := handle.ReadExit(s.exitPath(rec.ID))
	if err == nil && !exit.At.Before(rec.State.StartedAt.Add(-time.Minute)) {
		return exit
	}
	if _, err := os.Stat(s.runDir(rec.ID)); err == nil {
		return wire.ExitRecord{Code: codeKilled, Signal: 9, At: time.Now().UTC(), Error: handle.ErrLost.Error()}
	}
	return wire.ExitRecord{Code: codeUnknown, At: time.Now().UTC(), Error: "the machine went down while the container was running; its exit code is unknown"}
}

// wasStarted tells whether a container that is removed at its end, whose starts
// are not recorded, was ever started: every start writes its hostname file.
func (s *Service) wasStarted(rec *Record) bool {
	if !rec.State.StartedAt.IsZero() {
		return true
	}
	_, err := os.Stat(filepath.Join(s.dataDir(rec.ID), "hostname"))
	return err == nil
}

// missedRun records a run whose start the old daemon did not live to record.
func (s *Service) missedRun(ctx context.Context, e *entry, exit wire.ExitRecord) {
	err := s.change(e, container.StateRunning, false, func(n *Record) { n.State.StartedAt = exit.At })
	if err != nil {
		s.log.Error("settle a container", "container", e.id, "error", err)
		return
	}
	s.settle(ctx, e, nil, exit)
}

// sweep removes directories that have no record: what a create or a remove left
// that was cut off.
func (s *Service) sweep(ctx context.Context) {
	for _, id := range dirNames(filepath.Join(s.opts.DataRoot, "containers")) {
		if s.known(id) {
			continue
		}
		if err := s.Snapshots.Remove(ctx, id); err != nil {
			s.log.Error("remove the rest of a container", "container", id, "error", err)
		}
	}
	for _, id := range dirNames(filepath.Join(s.opts.ExecRoot, "containers")) {
		if s.known(id) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, cleanWait)
		err := s.Groups.Destroy(ctx, filepath.Join("/", s.cgroupRoot(), id))
		cancel()
		if err = errors.Join(err, os.RemoveAll(s.runDir(id))); err != nil {
			s.log.Error("remove the rest of a container's run", "container", id, "error", err)
		}
	}
}

func (s *Service) cgroupRoot() string {
	if s.opts.CgroupParent != "" {
		return s.opts.CgroupParent
	}
	return defaultCgroup
}

func (s *Service) known(id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.byID[id]
	return ok
}

func dirNames(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// startByPolicy starts in the background what a restart policy wants running.
func (s *Service) startByPolicy(all []*entry) {
	for _, e := range all {
		if r := e.record(); r.State.Status != container.StateExited || e.isRemoved() || !r.RestartsAtBoot() {
			continue
		}
		s.wait.Go(func() {
			ctx := context.Background()
			if err := e.acquire(ctx); err != nil {
				return
			}
			defer e.release()
			if s.closing() || e.record().State.Status != container.StateExited {
				return
			}
			if err := s.start(ctx, e, nil); err != nil {
				s.log.Error("start a container by its policy", "container", e.id, "error", err)
			}
		})
	}
}
