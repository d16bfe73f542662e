package container

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sampan-containers/sampan/container/index"
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

// keptSockets are what a new shim is given; none on the default network.
func keptSockets(s dns.Sockets) []handle.Kept {
	if s.UDP == nil {
		return nil
	}
	return []handle.Kept{{Name: keptUDP, File: s.UDP}, {Name: keptTCP, File: s.TCP}}
}

func resolverOptions(rec *Record) network.ResolverOptions {
	return network.ResolverOptions{Servers: rec.HostConfig.DNS, Options: rec.HostConfig.DNSOptions}
}

// networksChanged is told of a running container that was connected to a network
// or disconnected: one that is in its first network with names gets a resolver.
func (s *Service) networksChanged(ctx context.Context, e *index.Entry, before *Record) {
	rec := e.Record()
	if !s.Networks.Resolves(rec.ID) || resolved(before) {
		return
	}
	if err := s.giveResolver(ctx, e); err != nil {
		s.log.Error("give a running container a resolver", "container", rec.ID, "error", err)
	}
}

// resolved tells whether the container had a network with names.
func resolved(rec *Record) bool {
	return rec.State.Net != nil && slices.ContainsFunc(rec.State.Net.Endpoints, func(ep network.Endpoint) bool { return len(ep.Names) > 0 })
}

func (s *Service) giveResolver(ctx context.Context, e *index.Entry) error {
	live, err := e.Live()
	if err != nil {
		return err
	}
	// A container that had one before has its sockets still.
	rec := e.Record()
	if f, err := live.Shim.Kept(ctx, keptUDP); err == nil {
		f.Close()
		s.serveNames(rec, live.Shim)
		return nil
	}
	ns, err := live.Shim.Namespace(ctx, "network")
	if err != nil {
		return err
	}
	defer ns.Close()
	sockets, err := s.Networks.OpenResolver(rec.ID, ns, resolverOptions(rec))
	if err != nil {
		return err
	}
	defer sockets.Close()
	for _, k := range keptSockets(sockets) {
		if err := live.Shim.Keep(ctx, k.Name, k.File); err != nil {
			return err
		}
	}
	return s.writeResolv(rec, true)
}

// writeResolv writes the container's resolv.conf in place: it is mounted.
func (s *Service) writeResolv(rec *Record, resolver bool) error {
	hc := rec.HostConfig
	req := network.ResolvRequest{Search: hc.DNSSearch, Options: hc.DNSOptions, HostNetwork: hc.NetworkMode.IsHost(), Resolver: resolver}
	for _, a := range hc.DNS {
		req.DNS = append(req.DNS, a.String())
	}
	text, err := s.Networks.BuildResolvConf(req)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.paths.DataDir(rec.ID), "resolv.conf"), text, 0o644)
}

// serveNames begins to answer a container that is found running; what it asked
// meanwhile waits in its sockets.
func (s *Service) serveNames(rec *Record, sh Shim) {
	if !s.Networks.Resolves(rec.ID) {
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
		err = s.Networks.ServeNames(rec.ID, sockets, resolverOptions(rec))
	}
	if err != nil {
		s.log.Error("answer names to a container that was found running", "container", rec.ID, "error", err)
	}
}
