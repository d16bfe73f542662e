package main

import (
	"context"
	"fmt"
	"time"
)

const hundred = 100

// memoryLine is one row of the memory table, in KiB.
type memoryLine struct {
	what     string
	value    int
	limit    int
	ofPeer   int
	peerWhat string
}

// measureMemory fills the memory table: idle daemons, one shim alone, 20, 100.
func measureMemory(ctx context.Context, ours, peer *engine) ([]memoryLine, error) {
	var lines []memoryLine
	add := func(what string, value, limit, ofPeer int, peerWhat string) {
		lines = append(lines, memoryLine{what, value, limit, ofPeer, peerWhat})
	}
	daemonRSS := func(e *engine, comms ...string) int {
		sum := 0
		for _, comm := range comms {
			for _, pid := range processes(comm) {
				if m, err := memoryOf(pid); err == nil {
					sum += m.rss
				}
			}
		}
		return sum
	}
	peerDaemons := []string{"dockerd", "containerd"}
	add("idle daemon, RSS", daemonRSS(ours, "sampand"), 30*1024, daemonRSS(peer, peerDaemons...), "dockerd + containerd")

	run := func(e *engine, from, to int) error {
		for i := from; i < to; i++ {
			if _, err := e.do("run", "-d", "--name", fmt.Sprintf("m%d", i), "--network", "none", image, "sleep", "3600"); err != nil {
				return err
			}
		}
		time.Sleep(time.Second) // let them settle
		return nil
	}
	shims := func(e *engine) (memory, error) { return average(processes(e.shimName)) }

	for _, e := range []*engine{ours, peer} {
		if err := run(e, 0, 1); err != nil {
			return nil, err
		}
	}
	o, err := shims(ours)
	if err != nil {
		return nil, err
	}
	p, err := shims(peer)
	if err != nil {
		return nil, err
	}
	add("one container: its shim, RSS", o.rss, 4*1024, p.rss, peer.shimName)

	for _, e := range []*engine{ours, peer} {
		if err := run(e, 1, fleet); err != nil {
			return nil, err
		}
	}
	if o, err = shims(ours); err != nil {
		return nil, err
	}
	if p, err = shims(peer); err != nil {
		return nil, err
	}
	add("20 containers: per shim, PSS", o.pss, 1200*1024/1000, p.pss, peer.shimName)
	add("20 containers: per shim, private dirty", o.privateDirty, 1000*1024/1000, p.privateDirty, peer.shimName)

	if err := run(ours, fleet, hundred); err != nil {
		return nil, err
	}
	add("100 containers: daemon, RSS", daemonRSS(ours, "sampand"), 60*1024, 0, "")
	for _, e := range []*engine{ours, peer} {
		ids, err := e.do("ps", "-aq")
		if err != nil {
			return nil, err
		}
		if _, err := e.do(append([]string{"rm", "-f"}, fields(ids)...)...); err != nil {
			return nil, err
		}
		if err := e.waitGone(ctx); err != nil {
			return nil, err
		}
	}
	return lines, nil
}
