package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

const (
	image    = "bench:latest"
	fleet    = 20  // containers of a row that takes many
	inARow   = 200 // commands of the second figure
	pairs    = 25  // rounds of a row's first figure
	peerName = "docker.io"
)

// row is one line of the table: what is done, with the ratio it must reach.
type row struct {
	name   string
	target float64 // our median must be this many times shorter than docker.io's; 0 = no target
	rounds int
	// prepare and finish run untimed around every round.
	prepare, run, finish func(e *engine) error
	// perRound is how many commands one round is, for the figure in a row.
	perRound int
	// leaves tells that a round ends in removal, so that the second figure
	// waits until nothing is left.
	leaves bool
}

func nothing(*engine) error { return nil }

func command(args ...string) func(e *engine) error {
	return func(e *engine) error { _, err := e.do(args...); return err }
}

func names() []string {
	all := make([]string, fleet)
	for i := range all {
		all[i] = fmt.Sprintf("b%d", i)
	}
	return all
}

// runFleet starts the fleet, all at once.
func runFleet(e *engine) error {
	errs := make(chan error, fleet)
	var wait sync.WaitGroup
	for _, name := range names() {
		wait.Go(func() {
			_, err := e.do("run", "-d", "--name", name, image, "sleep", "3600")
			errs <- err
		})
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func removeFleet(e *engine) error {
	_, err := e.do(append([]string{"rm", "-f"}, names()...)...)
	return err
}

func rows() []row {
	single := command("run", "-d", "--name", "target", image, "sleep", "3600")
	removeSingle := command("rm", "-f", "target")
	return []row{
		{name: "run --rm --network none IMAGE true", target: 20, rounds: pairs, perRound: 1, leaves: true,
			prepare: nothing, run: command("run", "--rm", "--network", "none", image, "true"), finish: nothing},
		{name: "run --rm IMAGE true (bridge)", target: 15, rounds: pairs, perRound: 1, leaves: true,
			prepare: nothing, run: command("run", "--rm", image, "true"), finish: nothing},
		{name: "exec NAME true", target: 10, rounds: pairs, perRound: 1,
			prepare: single, run: command("exec", "target", "true"), finish: removeSingle},
		{name: "run -d, 20 at once", target: 15, rounds: 3, perRound: fleet, leaves: true,
			prepare: nothing, run: runFleet, finish: removeFleet},
		{name: "rm -f of 20 running", target: 10, rounds: 3, perRound: fleet, leaves: true,
			prepare: runFleet, run: removeFleet, finish: nothing},
		{name: "ps with 20 running", target: 3, rounds: pairs, perRound: 1,
			prepare: runFleet, run: command("ps"), finish: removeFleet},
	}
}

// result is a row's figures for every engine, by its name.
type result struct {
	row     row
	latency map[string]time.Duration
	inARow  map[string]time.Duration // per command
}

// ratio is peer over ours, for the named figure.
func ratio(figures map[string]time.Duration, peer string) float64 {
	ours := figures["sampan"]
	if ours == 0 {
		return 0
	}
	return float64(figures[peer]) / float64(ours)
}

// measure runs one row over all engines, paired round by round, then each
// engine's commands in a row until nothing of them exists.
func measure(ctx context.Context, r row, engines []*engine) (result, error) {
	res := result{r, map[string]time.Duration{}, map[string]time.Duration{}}
	all := map[string][]time.Duration{}
	once := prepareOnce(r)
	for _, e := range engines {
		if once {
			if err := r.prepare(e); err != nil {
				return res, err
			}
		}
	}
	for round := range r.rounds + 1 { // the first warms up
		for _, e := range engines {
			d, err := measureRound(ctx, r, e, once)
			if err != nil {
				return res, fmt.Errorf("%s: %w", r.name, err)
			}
			if round > 0 {
				all[e.name] = append(all[e.name], d)
			}
		}
	}
	for _, e := range engines {
		res.latency[e.name] = clock.Median(all[e.name])
		per, err := measureInARow(ctx, r, e, once)
		if err != nil {
			return res, fmt.Errorf("%s: %w", r.name, err)
		}
		res.inARow[e.name] = per
		if once {
			if err := r.finish(e); err != nil {
				return res, err
			}
			if err := e.waitGone(ctx); err != nil {
				return res, err
			}
		}
	}
	return res, nil
}

// prepareOnce tells that a row's rounds do not use up what prepare made.
func prepareOnce(r row) bool { return !r.leaves }

func measureRound(ctx context.Context, r row, e *engine, prepared bool) (time.Duration, error) {
	if prepared {
		return clock.Timed(func() error { return r.run(e) })
	}
	if err := r.prepare(e); err != nil {
		return 0, err
	}
	d, err := clock.Timed(func() error { return r.run(e) })
	if err != nil {
		return 0, err
	}
	if err := r.finish(e); err != nil {
		return 0, err
	}
	return d, e.waitGone(ctx)
}

// measureInARow returns the time per command of 200 in a row, counted until no
// cgroup, link, namespace, directory or process of them exists. Of a row that
// needs untimed steps between its rounds, only the timed part and the wait for
// its own remains count.
func measureInARow(ctx context.Context, r row, e *engine, prepared bool) (time.Duration, error) {
	var sum time.Duration
	rounds := inARow / r.perRound
	removes := strings.HasPrefix(r.name, "rm")
	for range rounds {
		if !prepared {
			if err := r.prepare(e); err != nil {
				return 0, err
			}
		}
		d, err := clock.Timed(func() error {
			if err := r.run(e); err != nil {
				return err
			}
			if removes {
				return e.waitGone(ctx)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		sum += d
		if !prepared {
			if err := r.finish(e); err != nil {
				return 0, err
			}
			if r.perRound > 1 && !removes {
				if err := e.waitGone(ctx); err != nil {
					return 0, err
				}
			}
		}
	}
	if r.leaves && r.perRound == 1 {
		d, err := clock.Timed(func() error { return e.waitGone(ctx) })
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum / time.Duration(rounds), nil
}
