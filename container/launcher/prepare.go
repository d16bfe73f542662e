package launcher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/shm"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
)

// network gives the run its network namespace.
func (l *launch) network(ctx context.Context) error {
	mode := l.rec.HostConfig.NetworkMode
	switch {
	case mode.IsHost():
		return nil
	case mode.IsNone() && l.makesUsers():
		ns, err := l.ownNetNS()
		l.net.NetNS = ns
		return err
	case mode.IsNone():
		ns, err := l.Networks.Isolated(ctx)
		l.net.NetNS = ns
		return err
	case mode.IsContainer():
		other, err := l.other(mode.ConnectedContainer(), "network")
		if err != nil {
			return err
		}
		l.filesOf = other.ID
		if l.net.NetNS, err = other.Run().Shim.Namespace(ctx, "network"); err == nil {
			err = l.sameUsers(ctx, other)
		}
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
	if l.makesUsers() {
		if req.NetNS, err = l.ownNetNS(); err != nil {
			return err
		}
	}
	sb, err := l.Networks.Join(ctx, req)
	if err != nil {
		return err
	}
	l.net = *sb
	l.undo.Push(func() error { return l.Networks.Leave(context.WithoutCancel(ctx), l.rec.ID) })
	return nil
}

// makesUsers tells whether the container gets a user namespace of its own, and with it a
// network namespace that belongs to it.
func (l *launch) makesUsers() bool {
	return l.run.Remap != nil && l.namespaces[string(specs.UserNamespace)] == nil
}

// ownNetNS makes the network namespace of a remapped container, and the user namespace
// that it belongs to.
func (l *launch) ownNetNS() (*os.File, error) {
	user, net, err := l.Users.Take(l.run.Remap)
	if err == nil {
		l.namespaces[string(specs.UserNamespace)] = user
	}
	return net, err
}

// sameUsers joins the user namespace of a container whose other namespaces are joined:
// they belong to it.
func (l *launch) sameUsers(ctx context.Context, other *index.Entry) error {
	theirs := other.Record().State.Remap
	if l.run.Remap == nil {
		return nil // root of the host may join any
	}
	if !reflect.DeepEqual(theirs, l.run.Remap) {
		return fault.New(fault.Conflict, "cannot join namespaces of container %s: it has other users than this one (start both with the same --userns)", other.ID)
	}
	const kind = string(specs.UserNamespace)
	if l.namespaces[kind] != nil {
		return nil
	}
	f, err := other.Run().Shim.Namespace(ctx, kind)
	if err == nil {
		l.namespaces[kind] = f
	}
	return err
}

// other returns a running container whose namespace is joined.
func (l *launch) other(ref, what string) (*index.Entry, error) {
	e, err := l.Containers.Find(ref)
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
func (l *launch) namespacesOfOthers(ctx context.Context) error {
	hc := l.rec.HostConfig
	if hc.PidMode.IsContainer() {
		if err := l.join(ctx, hc.PidMode.Container(), "pid"); err != nil {
			return err
		}
	}
	switch {
	case hc.IpcMode.IsHost():
		l.run.Shm = "/dev/shm"
	case hc.IpcMode.IsContainer():
		other, err := l.Containers.Find(hc.IpcMode.Container())
		if err != nil {
			return err
		}
		if mode := other.Record().HostConfig.IpcMode; !mode.IsShareable() {
			return fault.New(fault.Invalid, "cannot join IPC of container %s: non-shareable IPC: its mode is %s (start it with --ipc shareable)", other.ID, mode)
		}
		if err := l.join(ctx, hc.IpcMode.Container(), "ipc"); err != nil {
			return err
		}
		l.run.Shm = shm.Path(l.Paths.RunDir(other.ID))
	case hc.IpcMode.IsShareable():
		var err error
		size := hc.ShmSize
		if size <= 0 {
			size = ocispec.DefaultShmSize
		}
		l.run.Shm, err = shm.Make(l.Paths.RunDir(l.rec.ID), size)
		return err
	}
	return nil
}

func (l *launch) join(ctx context.Context, ref, kind string) error {
	e, err := l.other(ref, kind)
	if err != nil {
		return err
	}
	f, err := e.Run().Shim.Namespace(ctx, kind)
	if err != nil {
		return err
	}
	l.namespaces[kind] = f
	return l.sameUsers(ctx, e)
}

// etcFiles writes hostname, hosts and resolv.conf, unless another container's are used.
func (l *launch) etcFiles() error {
	rec, hc := l.rec, l.rec.HostConfig
	if hc.NetworkMode.IsContainer() {
		return nil
	}
	dir := l.Paths.DataDir(rec.ID)
	hosts := network.HostsRequest{Hostname: rec.Config.Hostname, Domainname: rec.Config.Domainname, Extra: links.Hosts(l.Containers, rec), HostNetwork: hc.NetworkMode.IsHost()}
	if l.net.Joined != nil {
		hosts.IPs = l.net.Joined.Addrs()
	}
	resolv := network.ResolvRequest{Search: hc.DNSSearch, Options: hc.DNSOptions, HostNetwork: hc.NetworkMode.IsHost()}
	resolv.Resolver = l.net.Resolver.UDP != nil
	for _, a := range hc.DNS {
		resolv.DNS = append(resolv.DNS, a.String())
	}
	hostsText, err := l.Networks.BuildHosts(hosts)
	if err != nil {
		return err
	}
	resolvText, err := l.Networks.BuildResolvConf(resolv)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"hosts": hostsText, "resolv.conf": resolvText, "hostname": l.Networks.BuildHostname(rec.Config.Hostname)} {
		// Readable by any user of the container; the directory keeps others out.
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return fmt.Errorf("container %s: %w", rec.ID, err)
		}
	}
	return nil
}
