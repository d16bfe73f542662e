package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

// The row about user namespaces has no peer but ourselves: docker.io remaps a whole
// daemon, over a second data root.

const (
	remappedName   = "run --rm of a remapped container, beside a plain one"
	remappedRounds = 25
	remappedLimit  = 1.5 // times a plain start
)

// remappedResult is both medians; zero: not measured.
type remappedResult struct{ plain, remapped time.Duration }

// measureRemapped runs a plain and a remapped container in turn.
func measureRemapped(ctx context.Context, ours *engine) (remappedResult, error) {
	var plain, remapped []time.Duration
	for round := range remappedRounds + 1 { // the first warms up
		for _, c := range []struct {
			all  *[]time.Duration
			mode string
		}{{&plain, "host"}, {&remapped, "remap"}} {
			d, err := clock.Timed(func() error {
				_, err := ours.do("run", "--rm", "--network", "none", "--userns", c.mode, image, "true")
				return err
			})
			if err != nil {
				return remappedResult{}, fmt.Errorf("%s: %w", remappedName, err)
			}
			if err := ours.waitGone(ctx); err != nil {
				return remappedResult{}, err
			}
			if round > 0 {
				*c.all = append(*c.all, d)
			}
		}
	}
	return remappedResult{clock.Median(plain), clock.Median(remapped)}, nil
}

func (r *report) printRemapped(w io.Writer) {
	m := r.remapped
	if m.plain == 0 {
		return
	}
	times := float64(m.remapped) / float64(m.plain)
	fmt.Fprintf(w, "\n| user namespaces | remapped | plain | ratio | target |\n|---|--:|--:|--:|---|\n| `%s` | %s | %s | %.2f | ≤ %.1f: %s |\n",
		remappedName, clock.Millis(m.remapped), clock.Millis(m.plain), times, remappedLimit, clock.Verdict(times <= remappedLimit))
}

// measureRemappedRow belongs to the group life, or is selected by its name.
func (r *report) measureRemappedRow(ctx context.Context, wanted bool, ours *engine) (err error) {
	if !wanted {
		return nil
	}
	if r.remapped, err = measureRemapped(ctx, ours); err == nil {
		r.printRemapped(os.Stdout)
	}
	return err
}
