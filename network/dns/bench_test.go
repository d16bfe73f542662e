package dns

import (
	"github.com/miekg/dns"
	"testing"

	"github.com/sampan-containers/sampan/network/netns"
)

// BenchmarkOpen is what the resolver adds to the start of a container.
func BenchmarkOpen(b *testing.B) {
	// As on a host where the daemon's own rules are in place.
	other, err := netns.NewSandbox()
	if err != nil {
		b.Fatal(err)
	}
	other.Conn.Close()
	defer other.File.Close()
	first, err := Open(other.File)
	if err != nil {
		b.Fatal(err)
	}
	defer first.Close()
	for b.Loop() {
		b.StopTimer()
		sb, err := netns.NewSandbox()
		if err != nil {
			b.Fatal(err)
		}
		sb.Conn.Close()
		b.StartTimer()
		s, err := Open(sb.File)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		sb.File.Close()
		b.StartTimer()
	}
}

// BenchmarkName is a name of the networks, without the sockets.
func BenchmarkName(b *testing.B) {
	r := New(Config{Names: fakeNames{}})
	c := &client{Client: Client{ID: "box"}}
	raw, err := question("db", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.handle(c, raw, false, func([]byte) {})
	}
}
