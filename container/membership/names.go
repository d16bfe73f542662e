package membership

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/shim/handle"
)

// Names under which a shim keeps the sockets of its container's resolver.
const (
	keptUDP = "dns-udp"
	keptTCP = "dns-tcp"
)

// keptWait bounds the wait for a shim that was found again.
const keptWait = 5 * time.Second

// KeptSockets are what a new shim is given; none on the default network.
func KeptSockets(s dns.Sockets) []handle.Kept {
	if s.UDP == nil {
		return nil
	}
	return []handle.Kept{{Name: keptUDP, File: s.UDP}, {Name: keptTCP, File: s.TCP}}
}

// ResolverOptions are what a container asks of its resolver.
func ResolverOptions(rec *record.Record) network.ResolverOptions {
	return network.ResolverOptions{Servers: rec.HostConfig.DNS, Options: rec.HostConfig.DNSOptions}
}

// changed is told of a running container that was connected to a network
// or disconnected: one that is in its first network with names gets a resolver.
func (v *Verbs) changed(ctx context.Context, rec *record.Record, sh index.Shim, had bool) {
	var err error
	switch now := v.d.Networks.Resolves(rec.ID); {
	case now && !had:
		err = v.giveResolver(ctx, rec, sh)
	case !now && had:
		// What runs may have read resolv.conf already: the sockets stay.
		err = v.writeResolv(rec, false)
	}
	if err != nil {
		v.d.Log.Error("change the resolver of a running container", "container", rec.ID, "error", err)
	}
}

// resolved tells whether the container had a network with names.
func resolved(rec *record.Record) bool {
	return rec.State.Net != nil && slices.ContainsFunc(rec.State.Net.Endpoints, func(ep network.Endpoint) bool { return len(ep.Names) > 0 })
}

func (v *Verbs) giveResolver(ctx context.Context, rec *record.Record, sh index.Shim) error {
	// A container that had one before has its sockets still. They are given in this
	// order; a daemon may have died in between.
	if f, err := sh.Kept(ctx, keptTCP); err == nil {
		f.Close()
		v.ServeNames(rec, sh)
		return v.writeResolv(rec, true)
	}
	ns, err := sh.Namespace(ctx, "network")
	if err != nil {
		return err
	}
	defer ns.Close()
	sockets, err := v.d.Networks.OpenResolver(rec.ID, ns, ResolverOptions(rec))
	if err != nil {
		return err
	}
	defer sockets.Close()
	failpoint.Hit("network.resolver.opened")
	for _, k := range KeptSockets(sockets) {
		if err := sh.Keep(ctx, k.Name, k.File); err != nil {
			return err
		}
		failpoint.Hit("network.resolver.kept")
	}
	return v.writeResolv(rec, true)
}

// writeResolv writes the container's resolv.conf in place: it is mounted. One that
// was changed inside since the start is left alone; what we write is dated back.
func (v *Verbs) writeResolv(rec *record.Record, resolver bool) error {
	path := filepath.Join(v.d.Paths.DataDir(rec.ID), "resolv.conf")
	if st, err := os.Stat(path); err != nil || st.ModTime().After(rec.State.StartedAt) {
		return err
	}
	hc := rec.HostConfig
	req := network.ResolvRequest{Search: hc.DNSSearch, Options: hc.DNSOptions, HostNetwork: hc.NetworkMode.IsHost(), Resolver: resolver}
	for _, a := range hc.DNS {
		req.DNS = append(req.DNS, a.String())
	}
	text, err := v.d.Networks.BuildResolvConf(req)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, rec.State.StartedAt)
}

// ServeNames begins to answer a container that is found running; what it asked
// meanwhile waits in its sockets.
func (v *Verbs) ServeNames(rec *record.Record, sh index.Shim) {
	if !v.d.Networks.Resolves(rec.ID) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), keptWait)
	defer cancel()
	var sockets dns.Sockets
	var err error
	if sockets.UDP, err = sh.Kept(ctx, keptUDP); err == nil {
		sockets.TCP, err = sh.Kept(ctx, keptTCP)
	}
	if err != nil {
		sockets.Close()
	} else {
		err = v.d.Networks.ServeNames(rec.ID, sockets, ResolverOptions(rec))
	}
	if err != nil {
		v.d.Log.Error("answer names to a container that was found running", "container", rec.ID, "error", err)
	}
}
