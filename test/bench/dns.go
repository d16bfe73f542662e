package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/test/bench/clock"
	"github.com/sampan-containers/sampan/test/dnsload"
)

const (
	dnsRate    = 2000 // queries a second from the whole fleet
	dnsSeconds = 3    // of a round
	dnsRounds  = 5
	dnsTarget  = 2.0
	dnsNetwork = "bench"
	// dnsUpstream is an address of the engine's namespace at which the host's
	// resolver stands.
	dnsUpstream = "10.255.255.53"
)

// dnsLine is a kind of names asked for.
type dnsLine struct {
	what   string
	names  []string
	target float64 // docker.io's 99th percentile over ours; 0 = none
	ours   dnsload.Result
	peers  dnsload.Result
}

// measureDNS asks both engines' resolvers for the names of containers, and for
// names outside of which a resolver may remember the answers, in turn.
func measureDNS(ours, peer *engine) (lines []dnsLine, err error) {
	var both []string
	for i, name := range names() {
		both = append(both, name, fmt.Sprintf("host%d.example.org", i))
	}
	lines = []dnsLine{{what: "names of containers, and names outside asked again and again", names: both, target: dnsTarget}, {what: "names of containers", names: names()}}
	pids := map[*engine][]int{}
	for _, e := range []*engine{ours, peer} {
		stop, err := dnsUpstreamOf(e)
		if err != nil {
			return nil, err
		}
		defer stop()
		if pids[e], err = dnsFleet(e); err != nil {
			return nil, err
		}
		defer func() {
			err = errors.Join(err, removeFleet(e))
			_, rmErr := e.do("network", "rm", dnsNetwork)
			err = errors.Join(err, rmErr)
		}()
	}
	for round := range dnsRounds + 1 { // the first warms up
		for i := range lines {
			for _, e := range []*engine{ours, peer} {
				r, err := dnsload.Load{Pids: pids[e], Names: lines[i].names, Rate: dnsRate, Total: dnsRate * dnsSeconds}.Run()
				if err != nil {
					return nil, err
				}
				sum := &lines[i].ours
				if e == peer {
					sum = &lines[i].peers
				}
				if round > 0 {
					sum.Add(r)
				}
			}
		}
	}
	return lines, nil
}

// dnsUpstreamOf serves the names outside where the engine's host asks for them.
func dnsUpstreamOf(e *engine) (stop func(), err error) {
	var conn net.PacketConn
	err = dnsload.Inside(e.daemon.Process.Pid, func() (err error) {
		conn, err = net.ListenPacket("udp", dnsUpstream+":53")
		return err
	})
	if err != nil {
		return nil, err
	}
	return dnsload.Upstream(conn), nil
}

// dnsFleet starts the containers that are asked from, and returns their pids.
func dnsFleet(e *engine) ([]int, error) {
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
	return pids, nil
}

func us(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func (r *report) printDNS(w io.Writer) {
	fmt.Fprintf(w, "\n| %d queries a second from %d containers | sampan: median | p99 | failed | %s: median | p99 | failed | p99 ratio | target |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n", dnsRate, fleet, peerName)
	for _, line := range r.dns {
		target := "none failed: " + clock.Verdict(line.ours.Failed == 0)
		times := float64(line.peers.Quantile(0.99)) / float64(max(1, line.ours.Quantile(0.99)))
		if line.target > 0 {
			target = fmt.Sprintf("≥ %.0f: %s; ", line.target, clock.Verdict(times >= line.target)) + target
		}
		fmt.Fprintf(w, "| %s | %s | %s | %d of %d | %s | %s | %d of %d | %.1f | %s |\n", line.what,
			us(line.ours.Quantile(0.5)), us(line.ours.Quantile(0.99)), line.ours.Failed, line.ours.Failed+line.ours.Answered,
			us(line.peers.Quantile(0.5)), us(line.peers.Quantile(0.99)), line.peers.Failed, line.peers.Failed+line.peers.Answered,
			times, target)
	}
}
