package network

import (
	"context"
	"net/netip"
	"os"
	"testing"
)

func tcp(host, container uint16) PortRequest {
	return PortRequest{Proto: "tcp", HostPortFirst: host, ContainerPort: container}
}

func on(ip string, p PortRequest) PortRequest {
	p.HostIP = netip.MustParseAddr(ip)
	return p
}

// TestReachability walks through who can talk to whom, with br_netfilter both
// ways, because it sends bridged frames through the same chains.
func TestReachability(t *testing.T) {
	for _, brNetfilter := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+brNetfilter, func(t *testing.T) {
			l := newLab(t)
			if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte(brNetfilter), 0o644); err != nil && brNetfilter == "1" {
				t.Skipf("the kernel has no br_netfilter: %v", err)
			}
			outside := l.machine()
			s := l.service(l.config())
			web := l.container(s, tcp(8080, 80), on("127.0.0.1", tcp(8081, 80)), on("192.0.2.1", tcp(8082, 80)),
				PortRequest{Proto: "udp", HostPortFirst: 5300, ContainerPort: 53})
			other := l.container(s)
			l.serve(web.NetNS, "tcp4", ":80")
			l.serve(web.NetNS, "tcp4", ":81")
			l.serve(web.NetNS, "udp4", ":53")
			l.serve(outside, "tcp4", ":9000")
			l.serve(nil, "tcp4", "172.17.0.1:7000")

			if got := web.Joined.Endpoints[0].IP; got != netip.MustParsePrefix("172.17.0.2/16") {
				t.Errorf("first address = %s, want 172.17.0.2/16", got)
			}
			if from := l.reaches("container to container", other.NetNS, "tcp4", at(web, 80)); from != other.Joined.Endpoints[0].IP.Addr() {
				t.Errorf("container to container: the server saw %s, want %s", from, other.Joined.Endpoints[0].IP.Addr())
			}
			if from := l.reaches("container to outside", other.NetNS, "tcp4", "192.0.2.2:9000"); from != netip.MustParseAddr("192.0.2.1") {
				t.Errorf("container to outside: the machine saw %s, want the host's address", from)
			}
			l.reaches("container to host", other.NetNS, "tcp4", "172.17.0.1:7000")
			l.reaches("host to container", nil, "tcp4", at(web, 80))
			l.reaches("host to 127.0.0.1", nil, "tcp4", "127.0.0.1:8080")
			l.reaches("host to 127.0.0.1, published there", nil, "tcp4", "127.0.0.1:8081")
			l.reaches("host to its own address", nil, "tcp4", "192.0.2.1:8080")
			l.reaches("host to 127.0.0.1 by UDP", nil, "udp4", "127.0.0.1:5300")
			if from := l.reaches("outside to the published port", outside, "tcp4", "192.0.2.1:8080"); from != netip.MustParseAddr("192.0.2.2") {
				t.Errorf("outside to the published port: the container saw %s, want the client's own address", from)
			}
			l.reaches("outside to the address it is published on", outside, "tcp4", "192.0.2.1:8082")
			l.reaches("outside by UDP", outside, "udp4", "192.0.2.1:5300")
			l.reaches("container to a published port of another", other.NetNS, "tcp4", "172.17.0.1:8080")
			l.reaches("container to a published port of another by the host's address", other.NetNS, "tcp4", "192.0.2.1:8080")
			l.reaches("container to its own published port", web.NetNS, "tcp4", "192.0.2.1:8080")
			l.reaches("lo of a container", web.NetNS, "tcp4", "127.0.0.1:80")

			l.blocked("a port of another address", nil, "tcp4", "127.0.0.1:8082")
			l.blocked("container to the host's 127.0.0.1", other.NetNS, "tcp4", "127.0.0.1:8080")

			// What a neighbour can try: a route to the containers over the
			// host, and packets to 127.0.0.1 on the wire (SECURITY.md N1).
			l.in(outside, "ip", "route", "add", "172.17.0.0/16", "via", "192.0.2.1")
			l.blocked("outside to an unpublished port", outside, "tcp4", at(web, 81))
			l.blocked("outside to a published port by the container's address", outside, "tcp4", at(web, 80))
			l.blocked("outside to an unpublished UDP port", outside, "udp4", at(web, 53))
			l.blocked("outside to a port published on 127.0.0.1", outside, "tcp4", "192.0.2.1:8081")
			l.in(outside, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.wire.route_localnet=1")
			l.in(outside, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
			l.in(outside, "ip", "route", "add", "127.0.0.1/32", "via", "192.0.2.1", "dev", "wire", "src", "192.0.2.2")
			l.blocked("outside to 127.0.0.1 of the host", outside, "tcp4", "127.0.0.1:8081")

			if err := s.Leave(context.Background(), "0000000000000000000000000000000000000000000000000000000000000001"); err != nil {
				t.Fatal(err)
			}
			l.blocked("outside to a port no longer published", outside, "tcp4", "192.0.2.1:8080")
			l.blocked("host to a port no longer published", nil, "tcp4", "127.0.0.1:8080")
		})
	}
}
