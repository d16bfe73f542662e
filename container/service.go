// Package container has the verbs on containers: how one is made, started, followed
// to its end, stopped, changed, removed, and found again after a restart of the
// daemon.
//
// Package index below it keeps the records and the lock of each container. A verb
// here finds an entry, takes its lock, does its work in named steps with an undo
// each, and changes the record through the index. What a running container is made
// of (processes, streams, log, exit code) belongs to its shim, which outlives the
// daemon; this package talks to it through the Supervisor interface.
//
// Verbs that change no container's state have packages of their own, whose methods
// Service has too: execs, files, usage, processes and membership.
//
// Limits: volume drivers other than local are refused by name for now.
package container

import (
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/background"
	"github.com/sampan-containers/sampan/container/checkpoints"
	"github.com/sampan-containers/sampan/container/control"
	"github.com/sampan-containers/sampan/container/execs"
	"github.com/sampan-containers/sampan/container/files"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/launcher"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/probe"
	"github.com/sampan-containers/sampan/container/processes"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/runspec"
	"github.com/sampan-containers/sampan/container/usage"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/container/volumes"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/logs/compact"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/state"
	"github.com/sampan-containers/sampan/volume"
)

// The types of a container's data, by the names this package uses for them.
type (
	Record = record.Record
	State  = record.State
	Mount  = mounts.Mount
)

// Options are the daemon's settings that reach containers.
type Options struct {
	DataRoot string // containers/ and volumes/ below it
	ExecRoot string // containers/ID below it: what ends with the machine's life

	CgroupParent string
	CDIDirs      []string // where specifications of devices lie
	Defaults     request.Defaults
	Spec         ocispec.Defaults
	Log          *slog.Logger
}

// Dependencies are the services a Service stands on.
type Dependencies struct {
	Store *state.Store
	// Passing keeps what need not outlive this run of the machine.
	Passing *state.Store

	Images     Images
	Snapshots  Snapshots
	Volumes    *volume.Local
	Networks   Networks
	Supervisor Supervisor
	Groups     Groups
	Events     Publisher
	Host       ocispec.Host
}

// Service has the verbs on the containers of one data root. All methods are safe
// for concurrent use. A container is named by its name, its id, or an unambiguous
// prefix of its id.
type Service struct {
	// The verbs on execs, files, usage, processes and networks.
	*execs.Execs
	*files.Files
	*usage.Meter
	*processes.Lister
	*membership.Verbs
	*checkpoints.Checkpoints
	Dependencies

	opts       Options
	log        *slog.Logger
	containers *index.Index
	paths      layout.Paths
	execs      execs.Registry
	volumes    *volumes.Volumes
	probes     *probe.Probes
	control    control.Control
	specs      runspec.Maker
	launcher   launcher.Launcher
	compactor  *compact.Compactor
	users      userns.Reserve
	work       *background.Work
	defaults   atomic.Pointer[request.Defaults]
	restoring  atomic.Bool   // Restore is under way: what a policy wants running starts at its end
	pruning    chan struct{} // holds one token while a prune runs
}

// SetDefaults gives new containers other defaults; those that are there keep theirs.
func (s *Service) SetDefaults(d request.Defaults) {
	d.Complete()
	s.defaults.Store(&d)
}

// New makes the service with the records of the store; nothing is touched
// outside of memory until Restore, which must come before the first verb.
func New(o Options, d Dependencies) (*Service, error) {
	o.Defaults.Complete()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	all, err := index.Load(d.Store, d.Passing, o.Log)
	if err != nil {
		return nil, err
	}
	s := &Service{opts: o, Dependencies: d, log: o.Log, containers: all, work: background.New(), compactor: compact.New(o.Log), pruning: make(chan struct{}, 1)}
	s.defaults.Store(&o.Defaults)
	s.users.Prepare = netns.Configure
	s.paths = layout.Paths{Data: d.Snapshots.Dir, ExecRoot: o.ExecRoot, Base: filepath.Join(o.DataRoot, "base"), CgroupParent: o.CgroupParent, Systemd: o.Defaults.Systemd}
	s.control = control.Control{Groups: d.Groups, Paths: &s.paths}
	s.specs = runspec.Maker{Containers: all, Paths: &s.paths, Defaults: &s.opts.Defaults, Spec: o.Spec, Host: d.Host, CDIDirs: o.CDIDirs}
	s.volumes = &volumes.Volumes{Local: d.Volumes, Containers: all, Events: d.Events, Log: s.log}
	s.launcher = launcher.Launcher{
		Containers: all, Paths: &s.paths, Defaults: s.defaults.Load, Specs: &s.specs, Volumes: s.volumes, Users: &s.users,
		Networks: d.Networks, Supervisor: d.Supervisor, Groups: d.Groups, Events: d.Events,
	}
	s.probes = probe.New(probe.Dependencies{Containers: all, Events: d.Events, Work: s.work, Spec: o.Spec, Log: s.log, Unhealthy: s.unhealthy})
	s.Execs = execs.New(execs.Dependencies{Containers: all, Events: d.Events, Work: s.work, Spec: o.Spec, Registry: &s.execs})
	s.Files = files.New(files.Dependencies{Containers: all, Volumes: s.volumes, Paths: &s.paths, Images: d.Images, Pauser: s, Events: d.Events, Log: s.log})
	s.Meter = usage.New(usage.Dependencies{Containers: all, Groups: d.Groups, Paths: &s.paths, Work: s.work})
	s.Verbs = membership.New(membership.Dependencies{Containers: all, Networks: d.Networks, Events: d.Events, Paths: &s.paths, Log: s.log})
	s.Lister = processes.New(processes.Dependencies{Containers: all, Groups: d.Groups, Paths: &s.paths, Events: d.Events})
	s.Checkpoints = checkpoints.New(checkpoints.Dependencies{Containers: all, Paths: &s.paths, Dumper: d.Supervisor, Events: d.Events})
	return s, nil
}

// Counts returns how many containers there are, by state.
func (s *Service) Counts() (total, running, paused, stopped int) {
	for _, e := range s.containers.All() {
		total++
		switch e.Record().State.Status {
		case container.StateRunning, container.StateRestarting:
			running++
		case container.StatePaused:
			paused++
		default:
			stopped++
		}
	}
	return total, running, paused, stopped
}

// UsedBy tells which containers were made from an image or mount it; image.Service asks it
// before it deletes.
func (s *Service) UsedBy(imageID string) []image.Container {
	var users []image.Container
	for _, e := range s.containers.All() {
		if r := e.Record(); r.ImageID == imageID || volumes.HasImage(r.Mounts, imageID) {
			users = append(users, image.Container{ID: r.ID, Running: r.State.Running()})
		}
	}
	return users
}

// VolumeUsers tells which containers, running or not, have a volume.
func (s *Service) VolumeUsers(name string) []string { return s.volumes.Users(name) }
