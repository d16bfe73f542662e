package container

import (
	"context"
	"time"

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
