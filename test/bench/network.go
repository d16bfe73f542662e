package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

// The group network: what the kernel carries between containers, the host and
// published ports, and what it costs to make and remove networks, ports and
// containers on a network of one's own.

const (
	userNetwork = "bench"
	netPairs    = 9  // rounds of a line with short commands
	netFleets   = 5  // rounds of a line with a fleet
	netInARow   = 40 // commands of a line's second figure
	manyPorts   = 100
	portRounds  = 3
	lastOfMany  = 200 // containers on one bridge
	crowdRounds = 11
)

// netLine is one line of the group: figures in one unit, and what they must reach.
// With ratio, ours are that many times better than the peer's; with limit, ours
// over base are at most that.
type netLine struct {
	what        string
	unit        string // ms, µs or MB/s
	ours, peers float64
	ratio       float64 // needed; 0 = only shown
	base, limit float64
}

// times is how many times better ours is.
func (l netLine) times() float64 {
	switch {
	case l.ours == 0 || l.peers == 0:
		return 0
	case l.unit == "MB/s":
		return l.ours / l.peers
	}
	return l.peers / l.ours
}

func (l netLine) target() string {
	switch {
	case l.limit > 0:
		over := l.ours / l.base
		return fmt.Sprintf("%.2f of %.1f %s, ≤ %.2f: %s", over, l.base, l.unit, l.limit, clock.Verdict(over <= l.limit))
	case l.ratio > 0:
		return fmt.Sprintf("≥ %g: %s", l.ratio, clock.Verdict(l.times() >= l.ratio))
	}
	return "–"
}

func figure(v float64, unit string) string {
	switch {
	case v == 0:
		return "–"
	case unit == "MB/s":
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

func netHead(w io.Writer) {
	fmt.Fprintf(w, "| networks | sampan | %s | ratio | target |\n|---|--:|--:|--:|---|\n", peerName)
}

func printNetLine(w io.Writer, l netLine) {
	times := "–"
	if l.times() > 0 {
		times = fmt.Sprintf("%.2f", l.times())
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", l.what, figure(l.ours, l.unit), figure(l.peers, l.unit), times, l.target())
}

// netPart is a part of the group by a name that an argument selects it with
// ("network:ports").
type netPart struct {
	name    string
	measure func(ctx context.Context, ours, peer *engine) ([]netLine, error)
}

func netParts() []netPart {
	return []netPart{
		{"traffic", measureTraffic},
		{"run", measureNetRun},
		{"fleet", measureNetFleet},
		{"create", measureNetCreate},
		{"ports", measureManyPorts},
		{"crowd", measureNetCrowd},
	}
}

// measureNetwork runs the group on a network of its own of each engine.
func (r *report) measureNetwork(ctx context.Context, parts []string, ours, peer *engine) (err error) {
	wanted := func(p netPart) bool {
		return len(parts) == 0 || slices.Contains(parts, "network") || slices.Contains(parts, "network:"+p.name)
	}
	if !slices.ContainsFunc(netParts(), wanted) {
		return nil
	}
	for _, e := range []*engine{ours, peer} {
		if _, err := e.do("network", "create", userNetwork); err != nil {
			return err
		}
		defer func() {
			_, rmErr := e.do("network", "rm", userNetwork)
			err = errors.Join(err, rmErr)
		}()
	}
	fmt.Println()
	netHead(os.Stdout)
	for _, p := range netParts() {
		if !wanted(p) {
			continue
		}
		lines, err := p.measure(ctx, ours, peer)
		if err != nil {
			return fmt.Errorf("network: %s: %w", p.name, err)
		}
		for _, l := range lines {
			printNetLine(os.Stdout, l)
		}
		r.network = append(r.network, lines...)
	}
	return nil
}

// pairedMedians calls round for each engine in turn, in an order that
// alternates, and returns the median of each of its figures; the first round
// warms up.
func pairedMedians(rounds int, engines []*engine, round func(e *engine) ([]float64, error)) (map[*engine][]float64, error) {
	all := map[*engine][][]float64{}
	for i := range rounds + 1 {
		order := slices.Clone(engines)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, e := range order {
			got, err := round(e)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				all[e] = append(all[e], got)
			}
		}
	}
	medians := map[*engine][]float64{}
	for e, rounds := range all {
		for i := range rounds[0] {
			var one []float64
			for _, r := range rounds {
				one = append(one, r[i])
			}
			slices.Sort(one)
			medians[e] = append(medians[e], one[len(one)/2])
		}
	}
	return medians, nil
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func timedMS(f func() error) (float64, error) {
	d, err := clock.Timed(f)
	return inMS(d), err
}

// pidOf is the first process of a container, as this namespace numbers it.
func (e *engine) pidOf(name string) (int, error) {
	out, err := e.do("inspect", "-f", "{{.State.Pid}}", name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}
