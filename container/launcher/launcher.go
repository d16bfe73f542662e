// Package launcher makes what a run of a container needs (run directory, volumes,
// network, namespaces of others, specification, the files in /etc) and has its shim
// started with it. Each step has its undo, and a start that fails leaves nothing. What
// the record's state becomes is the caller's, who holds the container's lock.
package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/moby/api/types/events"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/runspec"
	"github.com/sampan-containers/sampan/container/shm"
	"github.com/sampan-containers/sampan/container/undo"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/container/volumes"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

// Supervisor starts shims. Prepare announces a start that is near, and nothing of it
// lasts if none comes; Dismiss calls it off. Start closes the connections of its
// argument in every case.
type Supervisor interface {
	Prepare(containerID string, now bool)
	Dismiss(containerID string)
	Start(context.Context, *handle.Start) (index.Shim, error)
}

// Networks gives containers namespaces and addresses, and writes their files in /etc.
type Networks interface {
	Join(context.Context, network.JoinRequest) (*network.Sandbox, error)
	Isolated(context.Context) (*os.File, error)
	Leave(ctx context.Context, containerID string) error
	BuildHosts(network.HostsRequest) ([]byte, error)
	BuildResolvConf(network.ResolvRequest) ([]byte, error)
	BuildHostname(hostname string) []byte
}

// Groups removes control groups. One that is not there is no error.
type Groups interface {
	Destroy(ctx context.Context, path string) error
}

// Launcher starts runs. All methods are safe for concurrent use.
type Launcher struct {
	Containers *index.Index
	Paths      *layout.Paths
	Defaults   func() *request.Defaults
	Specs      *runspec.Maker
	Volumes    *volumes.Volumes
	Users      *userns.Reserve
	Networks   Networks
	Supervisor Supervisor
	Groups     Groups
	Events     notice.Publisher
}

// launch collects what a start makes before the shim has it.
type launch struct {
	*Launcher
	rec  *record.Record
	undo undo.Stack

	runtime request.Runtime

	net        network.Sandbox
	namespaces map[string]*os.File
	run        runspec.Run
	filesOf    string // the container whose hosts and resolv.conf are used
}

// Launch makes what a run needs and starts the shim, whose process comes up
// meanwhile. rec is the record of the new run, which gets the addresses. The steps,
// each with its undo: run directory, volumes, then side by side the network and the
// specification, then the files that name addresses, then side by side saving the
// record and starting the container.
func (s *Launcher) Launch(ctx context.Context, e *index.Entry, rec *record.Record) (sh index.Shim, err error) {
	if err := e.Guests.Wait(e.ID); err != nil {
		return nil, err
	}
	l := &launch{Launcher: s, rec: rec, run: runspec.Run{Record: rec, Remap: rec.State.Remap}, namespaces: map[string]*os.File{}, filesOf: e.ID}
	defer l.close()
	defer func() {
		if err != nil {
			err = errors.Join(err, l.undo.Run())
		}
	}()
	if l.runtime, err = s.Defaults().FindRuntime(rec.HostConfig.Runtime); err != nil {
		return nil, err
	}
	l.run.Profile = l.runtime.Path != ""
	if l.run.Remap != nil && l.runtime.Path != "" {
		return nil, fault.New(fault.NotImplemented, "a container of the runtime %s in a user namespace of its own is not available yet (use --userns host)", rec.HostConfig.Runtime)
	}
	s.Supervisor.Prepare(e.ID, false)
	l.undo.Push(func() error { s.Supervisor.Dismiss(e.ID); return nil })
	if err := l.directory(); err != nil {
		return nil, err
	}
	if err := s.Volumes.Mount(ctx, rec, e.ID); err != nil {
		return nil, err
	}
	l.undo.Push(func() error { s.Volumes.Unmount(rec, e.ID); return nil })
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
			spec, err = l.Specs.Make(&l.run)
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
	rec.State.Net = l.net.Joined
	l.networkEvent(events.ActionConnect)
	l.undo.Push(func() error { l.networkEvent(events.ActionDisconnect); return nil })
	return l.spawn(ctx, e)
}

// networkEvent publishes that the container joined or left its networks.
func (l *launch) networkEvent(action events.Action) {
	for _, m := range notice.Networks(l.rec, action) {
		l.Events.Publish(m)
	}
}

// directory makes an empty run directory; the rests of a crash go.
func (l *launch) directory() error {
	dir := l.Paths.RunDir(l.rec.ID)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		if err = shm.RemoveRun(dir); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil {
		return fmt.Errorf("run directory of container %s: %w", l.rec.ID, err)
	}
	l.undo.Push(func() error { return shm.RemoveRun(dir) })
	if err := os.Remove(l.Paths.ExitPath(l.rec.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("exit record of the last run: %w", err)
	}
	return nil
}

// files writes what the container finds in /etc, and its specification.
func (l *launch) files(spec []byte) error {
	if err := l.etcFiles(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.Paths.RunDir(l.rec.ID), "config.json"), spec, 0o600)
}

// spawn saves the record while the shim starts: the store must know that the
// container runs before anybody is told, and the two take equally long. A
// container that is removed at its end is not saved again: a daemon that finds
// its shim knows that it runs, and one that does not removes it.
func (l *launch) spawn(ctx context.Context, e *index.Entry) (index.Shim, error) {
	saved := make(chan error, 1)
	if l.rec.HostConfig.AutoRemove {
		saved <- nil
	} else {
		rec := l.rec.Clone()
		go func() { saved <- l.Containers.Save(rec) }()
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
	sh, err := l.Supervisor.Start(ctx, st)
	failpoint.Hit("container.start.spawned")
	saveErr := <-saved
	if err != nil {
		return nil, err
	}
	if saveErr != nil {
		// What is not recorded must not run.
		_ = sh.Close()
		destroyErr := l.Groups.Destroy(ctx, l.Paths.Cgroup(l.rec))
		return nil, errors.Join(saveErr, destroyErr)
	}
	return sh, nil
}

// config is what the shim is told.
func (l *launch) config() (wire.Config, error) {
	rec, hc := l.rec, l.rec.HostConfig
	c := wire.Config{
		ID:        rec.ID,
		RunDir:    l.Paths.RunDir(rec.ID),
		Overlay:   &wire.Overlay{Lower: l.Paths.Lowers(rec.Root.Lower), Upper: rec.Root.Upper, Work: rec.Root.Work, ReadOnly: hc.ReadonlyRootfs},
		ExitPath:  l.Paths.ExitPath(rec.ID),
		ExitSync:  !hc.AutoRemove,
		Terminal:  rec.Config.Tty,
		OpenStdin: rec.Config.OpenStdin,
		StdinOnce: rec.Config.StdinOnce,
		Height:    uint32(hc.ConsoleSize[0]),
		Width:     uint32(hc.ConsoleSize[1]),
	}
	var err error
	if c.Log, err = request.LogConfig(rec, l.Paths.LogPath(rec)); err != nil {
		return c, err
	}
	if l.run.Filter != nil {
		c.Filter = l.run.Filter.Encode()
	}
	c.Runtime, c.RuntimeArgs = l.runtime.Path, l.runtime.Args
	if c.Runtime != "" && l.Paths.Systemd {
		c.RuntimeArgs = append(slices.Clone(c.RuntimeArgs), "--systemd-cgroup")
	}
	for _, p := range l.net.Sockets {
		c.Ports = append(c.Ports, wire.Port{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort,
			ContainerIP: l.net.Joined.Target(), ContainerPort: p.ContainerPort, Splice: p.Splice})
	}
	return c, nil
}

// close lets go of the descriptors: the shim has its own by now.
func (l *launch) close() {
	l.net.Close()
	for _, f := range l.run.Held {
		f.Close()
	}
	for _, f := range l.namespaces {
		f.Close()
	}
}
