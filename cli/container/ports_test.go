package container

import (
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestPortList(t *testing.T) {
	p := func(ip string, private, public uint16, proto string) container.PortSummary {
		s := container.PortSummary{PrivatePort: private, PublicPort: public, Type: proto}
		if ip != "" {
			s.IP = netip.MustParseAddr(ip)
		}
		return s
	}
	// The expected texts were printed by docker/cli for the same ports.
	for want, ports := range map[string][]container.PortSummary{
		"":                                    nil,
		"80/tcp":                              {p("", 80, 0, "tcp")},
		"80-82/tcp":                           {p("", 81, 0, "tcp"), p("", 80, 0, "tcp"), p("", 82, 0, "tcp")},
		"0.0.0.0:80->80/tcp, [::]:80->80/tcp": {p("::", 80, 80, "tcp"), p("0.0.0.0", 80, 80, "tcp")},
		"0.0.0.0:8080->80/tcp":                {p("0.0.0.0", 80, 8080, "tcp")},
		"0.0.0.0:9000-9001->9000-9001/udp":    {p("0.0.0.0", 9001, 9001, "udp"), p("0.0.0.0", 9000, 9000, "udp")},
		"0.0.0.0:9000-9002->9000-9002/udp, [::]:9000-9002->9000-9002/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp": {
			p("0.0.0.0", 80, 8080, "tcp"), p("::", 80, 8080, "tcp"),
			p("0.0.0.0", 9000, 9000, "udp"), p("0.0.0.0", 9001, 9001, "udp"), p("0.0.0.0", 9002, 9002, "udp"),
			p("::", 9000, 9000, "udp"), p("::", 9001, 9001, "udp"), p("::", 9002, 9002, "udp"),
		},
	} {
		if got := portList(ports); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
