package container

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/container/shm"
	"github.com/sampan-containers/sampan/container/volumes"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
)

// network gives the run its network namespace.
func (l *launcher) network(ctx context.Context) error {
	mode := l.rec.HostConfig.NetworkMode
	switch {
	case mode.IsHost():
		return nil
	case mode.IsNone():
		ns, err := l.s.Networks.Isolated(ctx)
		l.net.NetNS = ns
		return err
	case mode.IsContainer():
		other, err := l.other(mode.ConnectedContainer(), "network")
		if err != nil {
			return err
		}
		l.filesOf = other.ID
		l.net.NetNS, err = other.Run().Shim.Namespace(ctx, "network")
		return err
	}
	req := network.JoinRequest{ContainerID: l.rec.ID, Name: l.rec.Name, Resolver: membership.ResolverOptions(l.rec)}
	var err error
	if req.Endpoints, err = membership.Requests(l.rec); err != nil {
		return err
	}
	if req.Ports, err = request.Ports(l.rec.Config, l.rec.HostConfig); err != nil {
		return err
	}
	sb, err := l.s.Networks.Join(ctx, req)
	if err != nil {
		return err
	}
	l.net = *sb
	l.undo.push(func() error { return l.s.Networks.Leave(context.WithoutCancel(ctx), l.rec.ID) })
	return nil
}

// other returns a running container whose namespace is joined.
func (l *launcher) other(ref, what string) (*index.Entry, error) {
	e, err := l.s.containers.Find(ref)
	if err != nil {
		return nil, err
	}
	if _, err := e.Live(); err != nil {
		return nil, fault.New(fault.Conflict, "cannot join %s of a non running container: %s", what, e.ID)
	}
	return e, nil
}

// namespacesOfOthers opens what --pid and --ipc container:X join, and chooses
// what stands at /dev/shm.
func (l *launcher) namespacesOfOthers(ctx context.Context) error {
	hc := l.rec.HostConfig
	if hc.PidMode.IsContainer() {
		if err := l.join(ctx, hc.PidMode.Container(), "pid"); err != nil {
			return err
		}
	}
	switch {
	case hc.IpcMode.IsHost():
		l.shm = "/dev/shm"
	case hc.IpcMode.IsContainer():
		if err := l.join(ctx, hc.IpcMode.Container(), "ipc"); err != nil {
			return err
		}
		other, err := l.s.containers.Find(hc.IpcMode.Container())
		if err != nil {
			return err
		}
		l.shm = shm.Path(l.s.paths.RunDir(other.ID))
	case hc.IpcMode.IsShareable():
		var err error
		size := hc.ShmSize
		if size <= 0 {
			size = ocispec.DefaultShmSize
		}
		l.shm, err = shm.Make(l.s.paths.RunDir(l.rec.ID), size)
		return err
	}
	return nil
}

func (l *launcher) join(ctx context.Context, ref, kind string) error {
	e, err := l.other(ref, kind)
	if err != nil {
		return err
	}
	f, err := e.Run().Shim.Namespace(ctx, kind)
	if err != nil {
		return err
	}
	l.namespaces[kind] = f
	return nil
}

// specification makes the text of config.json.
func (l *launcher) specification() ([]byte, error) {
	rec := l.rec
	layers := append([]string{rec.Root.Upper}, rec.Root.Lower...)
	passwd, group, err := rootview.Accounts(layers)
	if err != nil {
		return nil, err
	}
	user, err := ocispec.ResolveUser(rec.Config.User, rec.HostConfig.GroupAdd, passwd, group)
	if err != nil {
		return nil, err
	}
	in := &ocispec.Input{
		ID: rec.ID, Path: rec.Path, Args: rec.Args,
		Config: rec.Config, HostConfig: rec.HostConfig,
		User: user, Hostname: rec.Config.Hostname, Domainname: rec.Config.Domainname,
		CgroupsPath: l.s.paths.Cgroup(rec), CgroupV2: l.s.opts.Defaults.CgroupV2,
		ShmSource: l.shm, Defaults: l.s.opts.Spec, Host: l.s.Host,
	}
	if rec.HostConfig.Init != nil && *rec.HostConfig.Init {
		if in.InitPath = l.s.opts.Defaults.Init(); in.InitPath == "" {
			return nil, notYet("--init needs docker-init or tini on the host")
		}
	}
	if in.Mounts, err = l.mounts(); err != nil {
		return nil, err
	}
	spec, err := ocispec.Build(in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(spec)
}

// mounts lists the user's mounts and the three files of the network.
func (l *launcher) mounts() ([]ocispec.Mount, error) {
	rec := l.rec
	owner := l.networkOwner()
	var out []ocispec.Mount
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		target := "/etc/" + name
		if slices.ContainsFunc(rec.Mounts, func(m Mount) bool { return m.Destination == target }) {
			continue
		}
		out = append(out, ocispec.Mount{Type: mount.TypeBind, Source: filepath.Join(l.s.paths.DataDir(owner), name), Destination: target,
			ReadOnly: rec.HostConfig.ReadonlyRootfs})
	}
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		source := m.Source
		if m.Type != mount.TypeTmpfs {
			if _, err := os.Stat(m.Source); err != nil {
				return nil, fault.New(fault.Invalid, "mount %s at %s: %w (the source is missing on the host; create it, or remove and recreate the container)", m.Source, m.Destination, err)
			}
			if err := mounts.CheckPropagation(m); err != nil {
				return nil, err
			}
			held, err := volumes.Subpath(m)
			if err != nil {
				return nil, err
			}
			if held != nil {
				l.subpaths = append(l.subpaths, held)
				// The shim opens what we resolved, whatever stands at the path by then.
				source = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), held.Fd())
			}
		}
		out = append(out, ocispec.Mount{Type: m.Type, Source: source, Destination: m.Destination, ReadOnly: m.ReadOnly,
			Propagation: m.Propagation, NonRecursive: m.NonRecursive, RecursiveReadOnly: m.ReadOnly && !m.ShallowReadOnly, Options: m.Options})
	}
	return out, nil
}

// networkOwner is the container whose hosts and resolv.conf hold: the one whose
// network is joined, through any number of container: links.
func (l *launcher) networkOwner() string {
	return l.s.containers.NetworkOwner(l.rec)
}

// etcFiles writes hostname, hosts and resolv.conf, unless another container's are used.
func (l *launcher) etcFiles() error {
	rec, hc := l.rec, l.rec.HostConfig
	if hc.NetworkMode.IsContainer() {
		return nil
	}
	dir := l.s.paths.DataDir(rec.ID)
	hosts := network.HostsRequest{Hostname: rec.Config.Hostname, Domainname: rec.Config.Domainname, Extra: hc.ExtraHosts, HostNetwork: hc.NetworkMode.IsHost()}
	if l.net.Joined != nil {
		hosts.IPs = l.net.Joined.Addrs()
	}
	resolv := network.ResolvRequest{Search: hc.DNSSearch, Options: hc.DNSOptions, HostNetwork: hc.NetworkMode.IsHost()}
	resolv.Resolver = l.net.Resolver.UDP != nil
	for _, a := range hc.DNS {
		resolv.DNS = append(resolv.DNS, a.String())
	}
	hostsText, err := l.s.Networks.BuildHosts(hosts)
	if err != nil {
		return err
	}
	resolvText, err := l.s.Networks.BuildResolvConf(resolv)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"hosts": hostsText, "resolv.conf": resolvText, "hostname": l.s.Networks.BuildHostname(rec.Config.Hostname)} {
		// Readable by any user of the container; the directory keeps others out.
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("container %s: %w", rec.ID, err)
		}
	}
	return nil
}
