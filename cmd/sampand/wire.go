package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	mobycontainer "github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/engine"
	"github.com/sampan-containers/sampan/event"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/archive"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/kernel/hostcheck"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/server"
	containerroutes "github.com/sampan-containers/sampan/server/container"
	distributionroutes "github.com/sampan-containers/sampan/server/distribution"
	execroutes "github.com/sampan-containers/sampan/server/exec"
	imageroutes "github.com/sampan-containers/sampan/server/image"
	networkroutes "github.com/sampan-containers/sampan/server/network"
	systemroutes "github.com/sampan-containers/sampan/server/system"
	volumeroutes "github.com/sampan-containers/sampan/server/volume"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/snapshot"
	"github.com/sampan-containers/sampan/state"
	"github.com/sampan-containers/sampan/version"
	"github.com/sampan-containers/sampan/volume"
)

// daemon holds the services; each field is set by the step of its name.
type daemon struct {
	cfg   *config
	log   *slog.Logger
	level *slog.LevelVar
	args  []string // of the command line, for reload
	id    string
	tell  func(systemroutes.Config) // changes what /info tells

	lock       *engine.Lock
	pidFile    *engine.Lock
	store      *state.Store
	passing    *state.Store
	events     *event.Bus
	spawner    *handle.Spawner
	images     *image.Service
	transfers  *transfer.Service
	snapshots  snapshot.Driver
	volumes    *volume.Local
	networks   *network.Service
	containers *container.Service
	api        *server.Server
	listeners  []net.Listener
	failed     chan error // a listener that broke
	byClient   bool
	asked      chan struct{} // a client has stopped everything
}

// steps lists the services in the order in which they stand on each other. They
// come up from the top down and end from the bottom up.
func (d *daemon) steps() []engine.Step {
	return []engine.Step{
		{Name: "directories", Up: d.directories},
		{Name: "lock", Up: d.takeLock, Down: func(context.Context) error { return d.lock.Unlock() }},
		{Name: "pid file", Up: d.writePid, Down: func(context.Context) error { return d.pidFile.Remove() }},
		{Name: "events", Up: d.openEvents, Down: func(context.Context) error { return d.events.Close() }},
		{Name: "state store", Up: d.openStore, Down: func(context.Context) error { return d.store.Close() }},
		{Name: "state of this run of the machine", Up: d.openPassing, Down: func(context.Context) error { return d.passing.Close() }},
		{Name: "runtime", Up: d.openRuntime, Down: func(context.Context) error { return d.spawner.Close() }},
		{Name: "snapshots", Up: d.openSnapshots, Down: func(context.Context) error { return d.snapshots.Close() }},
		{Name: "volumes", Up: d.openVolumes},
		{Name: "images", Up: d.openImages, Down: d.closeImages},
		{Name: "networks", Up: d.openNetworks, Down: func(context.Context) error { return d.networks.Close() }},
		{Name: "containers", Up: d.openContainers, Down: func(ctx context.Context) error { return d.containers.Shutdown(ctx, !d.cfg.liveRestore) }},
		{Name: "API", Up: d.openAPI, Down: d.closeAPI},
	}
}

func (d *daemon) directories(context.Context) error {
	return engine.MakeRoots(d.cfg.dataRoot, d.cfg.execRoot, d.cfg.group != "")
}

func (d *daemon) takeLock(context.Context) (err error) {
	d.lock, err = engine.LockRoot(d.cfg.dataRoot)
	return err
}

func (d *daemon) writePid(context.Context) (err error) {
	d.pidFile, err = engine.LockPidFile(d.cfg.pidFile)
	return err
}

// openEvents goes on with the journal of an earlier daemon. Without a file for it
// the daemon works as well, and only forgets.
func (d *daemon) openEvents(context.Context) error {
	d.events = event.New()
	if err := d.events.Keep(filepath.Join(d.cfg.execRoot, "events"), filepath.Join(d.cfg.dataRoot, "events")); err != nil {
		d.log.Warn("events are kept in memory only", "error", err)
	}
	return nil
}

func (d *daemon) openStore(context.Context) (err error) {
	var aside string
	d.store, aside, err = engine.OpenState(d.cfg.dataRoot)
	if aside != "" {
		d.log.Warn("there is no state store, but containers of an earlier one: what they wrote is kept", "at", aside)
	}
	return err
}

func (d *daemon) openPassing(context.Context) (err error) {
	d.passing, err = state.OpenVolatile(filepath.Join(d.cfg.execRoot, "passing.db"))
	return err
}

func (d *daemon) openRuntime(context.Context) error {
	path, err := engine.FindRuntime(d.cfg.runtimeBinary)
	if err != nil {
		return err
	}
	d.spawner, err = handle.NewSpawner(path)
	return err
}

func (d *daemon) openSnapshots(context.Context) (err error) {
	copy := func(ctx context.Context, layers []string, dir string) error {
		paths := layout.Paths{Base: filepath.Join(d.cfg.dataRoot, "base")}
		return rootview.Copy(ctx, paths.Lowers(layers), "/", dir)
	}
	d.snapshots, err = snapshot.Open(d.cfg.dataRoot, d.cfg.storageDriver, copy)
	return err
}

func (d *daemon) openVolumes(context.Context) (err error) {
	d.volumes, err = volume.Open(d.cfg.dataRoot)
	return err
}

func (d *daemon) openImages(context.Context) (err error) {
	d.images, err = image.New(image.Config{Root: d.cfg.dataRoot, BoxBinary: d.cfg.boxBinary, Log: d.log}, d.store, d.events)
	if err == nil {
		r := &d.cfg.registry
		d.transfers = transfer.New(transfer.Config{Downloads: r.downloads, Uploads: r.uploads, DropBlobs: !r.keepBlobs, Log: d.log}, d.images, r.client())
	}
	return err
}

// closeImages ends what brings images and takes them before the stores below.
func (d *daemon) closeImages(context.Context) error {
	d.transfers.Close()
	return d.images.Close()
}

func (d *daemon) openNetworks(ctx context.Context) error {
	cfg, err := d.cfg.network(d.log)
	if err != nil {
		return err
	}
	d.networks, err = network.New(ctx, cfg, d.store)
	return err
}

func (d *daemon) openContainers(ctx context.Context) error {
	profile, err := d.cfg.seccomp()
	if err != nil {
		return err
	}
	layout, err := cgroup.Mode()
	if err != nil {
		return err
	}
	c := d.cfg
	d.containers, err = container.New(container.Options{
		DataRoot: c.dataRoot, ExecRoot: c.execRoot, CgroupParent: c.cgroupParent, CDIDirs: c.cdiDirs,
		Defaults: c.containers(layout),
		Spec:     ocispec.Defaults{NoNewPrivileges: c.noNewPrivileges, Ulimits: c.ulimits, Seccomp: profile, PidsLimit: c.defaultPids(layout)},
		Log:      d.log,
	}, container.Dependencies{
		Store: d.store, Passing: d.passing, Images: d.images, Snapshots: d.snapshots, Volumes: d.volumes, Networks: d.networks,
		Supervisor: engine.Shims{Spawner: d.spawner}, Groups: engine.Groups{}, Events: d.events, Host: ocispec.LocalHost{},
	})
	if err != nil {
		return err
	}
	d.images.InUse = d.containers.UsedBy
	if b, ok := d.snapshots.(*snapshot.Btrfs); ok {
		d.images.LayersGone = func() {
			if err := b.Collect(); err != nil {
				d.log.Warn("subvolumes of removed images stay until the next start", "error", err)
			}
		}
	}
	return d.containers.Restore(ctx)
}

// containers are the defaults of new containers.
func (c *config) containers(layout cgroup.Layout) request.Defaults {
	return request.Defaults{
		CgroupV2: layout == cgroup.V2, Systemd: c.cgroupDriver() == driverSystemd, Runtime: c.defaultRuntime, Runtimes: c.runtimes, Remap: c.remap, Own: &userns.Own{}, LogDriver: c.logDriver, LogOptions: c.logOpts,
		ShmSize: int64(c.shmSize), AlwaysInit: c.init, NoICC: !c.icc, InitPath: c.initPath,
		IpcMode: mobycontainer.IpcMode(c.ipcMode), CgroupnsMode: mobycontainer.CgroupnsMode(c.cgroupns),
	}
}

// openAPI registers the routes and opens the sockets: whoever can connect gets
// an answer.
func (d *daemon) openAPI(context.Context) error {
	id, err := engine.Identity(d.store)
	if err != nil {
		return err
	}
	d.api = server.New(server.Config{Version: version.Version, Log: d.log, Experimental: d.cfg.experimental})
	d.id = id
	d.tell = systemroutes.Register(d.api, d.system(id), d.containers, d.images, d.events)
	containerroutes.Register(d.api, d.containers)
	execroutes.Register(d.api, d.containers)
	imageroutes.Register(d.api, d.images, archive.New(d.images), d.transfers, integrity.New(d.images))
	distributionroutes.Register(d.api, d.transfers)
	networkroutes.Register(d.api, d.networks, d.containers, d.events)
	volumeroutes.Register(d.api, d.volumes, d.containers, d.events)
	systemroutes.RegisterUsage(d.api, d.containers, d.images, d.volumes)
	systemroutes.RegisterCheck(d.api, hostcheck.Options{DataRoot: d.cfg.dataRoot, ExecRoot: d.cfg.execRoot, Firewall: func() string { return d.networks.Blocked() }})
	systemroutes.RegisterStop(d.api, d.containers, func() {
		select {
		case d.asked <- struct{}{}:
		default: // it ends already
		}
	})
	return d.listen()
}

func (d *daemon) system(id string) systemroutes.Config {
	profile := "builtin"
	if d.cfg.seccompProfile != "" {
		profile = d.cfg.seccompProfile
	}
	s := systemroutes.Config{
		ID: id, Root: d.cfg.dataRoot, Version: version.Version, Commit: version.Commit, Labels: d.cfg.labels,
		Debug: d.cfg.debug, Experimental: d.cfg.experimental, LiveRestore: d.cfg.liveRestore,
		StorageDriver: d.snapshots.Name(), LoggingDriver: d.cfg.logDriver, LoggingDrivers: request.LogDrivers(),
		NetworkDrivers: []string{"bridge", "host", "ipvlan", "macvlan", "null"}, CgroupDriver: d.cfg.cgroupDriver(), Firewall: d.cfg.firewall,
		Runtimes:        d.cfg.runtimes.listed(),
		DefaultRuntime:  d.cfg.defaultRuntime,
		SecurityOptions: []string{"name=seccomp,profile=" + profile},
		BuilderVersion:  "1",
		CDIDirs:         d.cfg.cdiDirs,
		Registry:        d.cfg.registry.info(), Proxy: d.cfg.registry.hosts().Proxy.Settings(),
	}
	if d.cfg.remap != nil {
		s.SecurityOptions = append(s.SecurityOptions, "name=userns")
	}
	if d.cfg.noNewPrivileges {
		s.SecurityOptions = append(s.SecurityOptions, "name=no-new-privileges")
	}
	return s
}

// listen opens every address before the first is served.
func (d *daemon) listen() error {
	cfg := server.ListenConfig{Group: d.cfg.group, AllowPlainTCP: d.cfg.allowPlainTCP}
	if d.cfg.tls {
		var err error
		cfg.TLS, err = d.loadTLS()
		if err != nil {
			return err
		}
	}
	for _, host := range d.cfg.hosts {
		ls, err := server.Listen(host, cfg)
		if err != nil {
			for _, l := range d.listeners {
				l.Close()
			}
			return err
		}
		d.listeners = append(d.listeners, ls...)
		if strings.HasPrefix(host, "tcp://") && cfg.TLS == nil {
			d.log.Warn("the API is open to everybody who reaches this address, and with it root on this machine", "address", host)
		}
	}
	d.failed = make(chan error, len(d.listeners))
	for _, l := range d.listeners {
		go func() {
			if err := d.api.Serve(l); err != nil {
				d.failed <- err
			}
		}()
	}
	return nil
}

func (d *daemon) loadTLS() (*tls.Config, error) {
	if d.cfg.tlsCert == "" || d.cfg.tlsKey == "" || d.cfg.tlsVerify && d.cfg.tlsCA == "" {
		return nil, fmt.Errorf("TLS needs --tlscert and --tlskey, and --tlsverify needs --tlscacert")
	}
	return server.LoadTLS(server.TLSFiles{CA: d.cfg.tlsCA, Cert: d.cfg.tlsCert, Key: d.cfg.tlsKey, Verify: d.cfg.tlsVerify})
}

func (d *daemon) closeAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, apiGrace)
	defer cancel()
	return d.api.Shutdown(ctx)
}
