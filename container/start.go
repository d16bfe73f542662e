package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/runspec"
	"github.com/sampan-containers/sampan/container/shm"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
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
	sh, err := s.launch(ctx, e, m)
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

// launcher collects what a start makes before the shim has it.
type launcher struct {
	s    *Service
	rec  *Record
	undo undoStack

	runtime request.Runtime

	net        network.Sandbox
	namespaces map[string]*os.File
	run        runspec.Run
	filesOf    string // the container whose hosts and resolv.conf are used
}

// launch makes what a run needs and starts the shim, whose process comes up
// meanwhile. The steps, each with its undo: run directory, then side by side the
// network and the specification, then the files that name addresses, then side by
// side the record and the container.
func (s *Service) launch(ctx context.Context, e *index.Entry, m *index.Move) (sh Shim, err error) {
	if err := e.Guests.Wait(e.ID); err != nil {
		return nil, err
	}
	l := &launcher{s: s, rec: m.Next, run: runspec.Run{Record: m.Next, Remap: m.Next.State.Remap}, namespaces: map[string]*os.File{}, filesOf: e.ID}
	defer l.close()
	defer func() {
		if err != nil {
			err = errors.Join(err, l.undo.run())
		}
	}()
	if l.runtime, err = s.defaults.Load().FindRuntime(m.Next.HostConfig.Runtime); err != nil {
		return nil, err
	}
	l.run.Profile = l.runtime.Path != ""
	if l.run.Remap != nil && l.runtime.Path != "" {
		return nil, notYet("a container of the runtime %s in a user namespace of its own is not available yet (use --userns host)", m.Next.HostConfig.Runtime)
	}
	s.Supervisor.Prepare(e.ID, false)
	l.undo.push(func() error { s.Supervisor.Dismiss(e.ID); return nil })
	if err := l.directory(); err != nil {
		return nil, err
	}
	if err := s.volumes.Mount(ctx, m.Next, e.ID); err != nil {
		return nil, err
	}
	l.undo.push(func() error { s.volumes.Unmount(m.Next, e.ID); return nil })
	if l.run.Remap != nil { // whose user namespace it is comes first: the network belongs to it
		if err := l.namespacesOfOthers(ctx); err != nil {
			return nil, err
		}
	}
	failpoint.Hit("container.start.mounted")
	var g errgroup.Group
	g.Go(func() error { return l.network(ctx) })
	var spec []byte
	g.Go(func() (err error) {
		if l.run.Remap == nil {
			err = l.namespacesOfOthers(ctx)
		}
		if err == nil {
			spec, err = l.s.specs.Make(&l.run)
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := l.files(spec); err != nil {
		return nil, err
	}
	failpoint.Hit("container.start.prepared")
	m.Next.State.Net = l.net.Joined
	s.networkEvent(m.Next, events.ActionConnect)
	l.undo.push(func() error { s.networkEvent(m.Next, events.ActionDisconnect); return nil })
	return l.spawn(ctx, e)
}

// directory makes an empty run directory; the rests of a crash go.
func (l *launcher) directory() error {
	dir := l.s.paths.RunDir(l.rec.ID)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		if err = shm.RemoveRun(dir); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil {
		return fmt.Errorf("run directory of container %s: %w", l.rec.ID, err)
	}
	l.undo.push(func() error { return shm.RemoveRun(dir) })
	if err := os.Remove(l.s.paths.ExitPath(l.rec.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("exit record of the last run: %w", err)
	}
	return nil
}

// files writes what the container finds in /etc, and its specification.
func (l *launcher) files(spec []byte) error {
	if err := l.etcFiles(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.s.paths.RunDir(l.rec.ID), "config.json"), spec, 0o600)
}

// spawn saves the record while the shim starts: the store must know that the
// container runs before anybody is told, and the two take equally long. A
// container that is removed at its end is not saved again: a daemon that finds
// its shim knows that it runs, and one that does not removes it.
func (l *launcher) spawn(ctx context.Context, e *index.Entry) (Shim, error) {
	saved := make(chan error, 1)
	if l.rec.HostConfig.AutoRemove {
		saved <- nil
	} else {
		rec := l.rec.Clone()
		go func() { saved <- l.s.containers.Save(rec) }()
	}
	config, err := l.config()
	if err != nil {
		return nil, err
	}
	config.Checkpoint = e.Images
	st := &handle.Start{Config: config, NetNS: l.net.NetNS, Namespaces: l.namespaces, Attach: e.TakePending()}
	for i := range l.net.Sockets {
		st.PortSockets = append(st.PortSockets, l.net.Sockets[i].File)
	}
	st.Kept = membership.KeptSockets(l.net.Resolver)
	sh, err := l.s.Supervisor.Start(ctx, st)
	failpoint.Hit("container.start.spawned")
	saveErr := <-saved
	if err != nil {
		return nil, err
	}
	if saveErr != nil {
		// What is not recorded must not run.
		_ = sh.Close()
		destroyErr := l.s.Groups.Destroy(ctx, l.s.paths.Cgroup(l.rec))
		return nil, errors.Join(saveErr, destroyErr)
	}
	return sh, nil
}

// config is what the shim is told.
func (l *launcher) config() (wire.Config, error) {
	rec, hc := l.rec, l.rec.HostConfig
	c := wire.Config{
		ID:        rec.ID,
		RunDir:    l.s.paths.RunDir(rec.ID),
		Overlay:   &wire.Overlay{Lower: l.s.paths.Lowers(rec.Root.Lower), Upper: rec.Root.Upper, Work: rec.Root.Work, ReadOnly: hc.ReadonlyRootfs},
		ExitPath:  l.s.paths.ExitPath(rec.ID),
		ExitSync:  !hc.AutoRemove,
		Terminal:  rec.Config.Tty,
		OpenStdin: rec.Config.OpenStdin,
		StdinOnce: rec.Config.StdinOnce,
		Height:    uint32(hc.ConsoleSize[0]),
		Width:     uint32(hc.ConsoleSize[1]),
	}
	var err error
	if c.Log, err = request.LogConfig(rec, l.s.paths.LogPath(rec)); err != nil {
		return c, err
	}
	if l.run.Filter != nil {
		c.Filter = l.run.Filter.Encode()
	}
	c.Runtime, c.RuntimeArgs = l.runtime.Path, l.runtime.Args
	if c.Runtime != "" && l.s.paths.Systemd {
		c.RuntimeArgs = append(slices.Clone(c.RuntimeArgs), "--systemd-cgroup")
	}
	for _, p := range l.net.Sockets {
		c.Ports = append(c.Ports, wire.Port{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort,
			ContainerIP: l.net.Joined.Target(), ContainerPort: p.ContainerPort, Splice: p.Splice})
	}
	return c, nil
}

// close lets go of the descriptors: the shim has its own by now.
func (l *launcher) close() {
	l.net.Close()
	for _, f := range l.run.Held {
		f.Close()
	}
	for _, f := range l.namespaces {
		f.Close()
	}
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
