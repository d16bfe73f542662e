package main

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/test/dnsload"
)

const (
	dnsRate    = 2000 // queries a second from the whole fleet
	dnsSeconds = 15
	dnsTarget  = 2.0
	dnsNetwork = "bench"
	// dnsUpstream is an address of the engine's namespace at which the host's
	// resolver stands.
	dnsUpstream = "10.255.255.53"
)

// dnsLine is a kind of names asked for.
type dnsLine struct {
	what  string
	ours  *dnsload.Result
	peers *dnsload.Result
}

// measureDNS asks both engines' resolvers for the names of containers, and for
// names outside of which a resolver may remember the answers.
func measureDNS(ours, peer *engine) ([]dnsLine, error) {
	var outside []string
	for i := range 50 {
		outside = append(outside, fmt.Sprintf("host%d.example.org", i))
	}
	lines := []dnsLine{{what: "names of containers"}, {what: "names outside, asked again and again"}}
	for _, e := range []*engine{ours, peer} {
		results, err := dnsOf(e, names(), outside)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			if e == ours {
				lines[i].ours = r
			} else {
				lines[i].peers = r
			}
		}
	}
	return lines, nil
}

func dnsOf(e *engine, lists ...[]string) ([]*dnsload.Result, error) {
	var upstream net.PacketConn
	err := dnsload.Inside(e.daemon.Process.Pid, func() (err error) {
		upstream, err = net.ListenPacket("udp", dnsUpstream+":53")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer dnsload.Upstream(upstream)()
	if _, err := e.do("network", "create", dnsNetwork); err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names() {
		if _, err := e.do("run", "-d", "--name", name, "--network", dnsNetwork, image, "sleep", "3600"); err != nil {
			return nil, err
		}
		out, err := e.do("inspect", "-f", "{{.State.Pid}}", name)
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	var all []*dnsload.Result
	for _, list := range lists {
		load := dnsload.Load{Pids: pids, Names: list, Rate: dnsRate}
		load.Total = dnsRate // warms up
		if _, err := load.Run(); err != nil {
			return nil, err
		}
		load.Total = dnsRate * dnsSeconds
		r, err := load.Run()
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if err := removeFleet(e); err != nil {
		return nil, err
	}
	_, err = e.do("network", "rm", dnsNetwork)
	return all, err
}

func us(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func (r *report) printDNS(w io.Writer) {
	fmt.Fprintf(w, "\n| %d queries a second from %d containers | sampan: median | p99 | failed | %s: median | p99 | failed | p99 ratio | target |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n", dnsRate, fleet, peerName)
	for _, line := range r.dns {
		times := float64(line.peers.Quantile(0.99)) / float64(max(1, line.ours.Quantile(0.99)))
		fmt.Fprintf(w, "| %s | %s | %s | %d of %d | %s | %s | %d of %d | %.1f | ≥ %.0f, none failed: %s |\n", line.what,
			us(line.ours.Quantile(0.5)), us(line.ours.Quantile(0.99)), line.ours.Failed, line.ours.Failed+line.ours.Answered,
			us(line.peers.Quantile(0.5)), us(line.peers.Quantile(0.99)), line.peers.Failed, line.peers.Failed+line.peers.Answered,
			times, dnsTarget, verdict(times >= dnsTarget && line.ours.Failed == 0))
	}
}
