package container

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// portRun is a run of neighbouring ports with one address and protocol.
type portRun struct {
	address     string // empty if the port is only exposed
	proto       string
	first, last uint16
}

// portList prints ports as `docker ps` does. Neighbours whose host port is the
// same as their own become a range; runs that are followed by another of the
// same kind come first, then the last ones, then ports that are mapped to
// another number.
func portList(ports []container.PortSummary) string {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, comparePorts)
	var done, kinds, mapped []string
	open := map[string]*portRun{}
	for _, p := range ports {
		if p.IP.IsValid() && p.PublicPort != p.PrivatePort {
			mapped = append(mapped, net.JoinHostPort(p.IP.String(), number(p.PublicPort))+"->"+number(p.PrivatePort)+"/"+p.Type)
			continue
		}
		kind := address(p) + "/" + p.Type
		run := open[kind]
		switch {
		case run == nil:
			kinds = append(kinds, kind)
		case p.PrivatePort == run.last+1:
			run.last = p.PrivatePort
			continue
		default:
			done = append(done, run.String())
		}
		open[kind] = &portRun{address(p), p.Type, p.PrivatePort, p.PrivatePort}
	}
	for _, kind := range kinds {
		done = append(done, open[kind].String())
	}
	return strings.Join(append(done, mapped...), ", ")
}

func comparePorts(a, b container.PortSummary) int {
	if a.PrivatePort != b.PrivatePort {
		return int(a.PrivatePort) - int(b.PrivatePort)
	}
	if c := strings.Compare(address(a), address(b)); c != 0 {
		return c
	}
	if a.PublicPort != b.PublicPort {
		return int(a.PublicPort) - int(b.PublicPort)
	}
	return strings.Compare(a.Type, b.Type)
}

func (r *portRun) String() string {
	span := number(r.first)
	if r.last > r.first {
		span += "-" + number(r.last)
	}
	if r.address == "" {
		return span + "/" + r.proto
	}
	return net.JoinHostPort(r.address, span) + "->" + span + "/" + r.proto
}

func number(port uint16) string { return strconv.Itoa(int(port)) }

func address(p container.PortSummary) string {
	if p.IP.IsValid() {
		return p.IP.String()
	}
	return ""
}
