package runtimes

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/bench/clock"
)

// Report has the figures of one run.
type Report struct {
	results []result
	peaks   map[string]int // of `create`, in KiB, by runtime
}

// Measure times all rows on bundles below dir whose root is that of a tar file, and
// prints each line to w as it is there.
func (r *Report) Measure(w io.Writer, dir, tar string) error {
	b, err := newBench(dir, tar)
	if err != nil {
		return err
	}
	defer unix.Unmount(b.state, unix.MNT_DETACH)
	head(w)
	for _, row := range rows() {
		free := func() {}
		if row.name == mountsRow {
			if free, err = b.crowd(); err != nil {
				return err
			}
		}
		res, err := b.measure(row)
		free()
		if err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
		r.results = append(r.results, res)
		res.print(w)
	}
	r.peaks = map[string]int{}
	for _, name := range names {
		if r.peaks[name], err = b.peak(name); err != nil {
			return err
		}
	}
	r.printPeaks(w)
	return nil
}

// Print prints what Measure has measured.
func (r *Report) Print(w io.Writer) {
	head(w)
	for _, res := range r.results {
		res.print(w)
	}
	r.printPeaks(w)
}

// ratio is a peer's figure over ours.
func ratio(figures map[string]time.Duration, peer string) float64 {
	if figures["sampan"] == 0 {
		return 0
	}
	return float64(figures[peer]) / float64(figures["sampan"])
}

func head(w io.Writer) {
	fmt.Fprintf(w, "\n| sampan-runtime | ours | runc | crun | floor.c | runc, crun / ours | in a row, each: ours | runc, crun / ours | target |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
}

// print prints a row: its ratios must hold at rest and in a row.
func (res *result) print(w io.Writer) {
	over := func(figures map[string]time.Duration, peer string) float64 {
		if peer == "floor" {
			return float64(figures["sampan"]) / float64(figures["floor"])
		}
		return ratio(figures, peer)
	}
	floor := "–"
	if res.row.floor {
		floor = clock.Millis(res.latency["floor"])
	}
	var verdicts []string
	for _, peer := range []string{"runc", "crun", "floor"} {
		for _, target := range res.row.targets[peer] {
			one, many := over(res.latency, peer), over(res.inARow, peer)
			if peer == "floor" {
				verdicts = append(verdicts, fmt.Sprintf("within %.0f of the floor (%.1f, %.1f): %s", target, one, many, clock.Verdict(max(one, many) <= target)))
				continue
			}
			verdicts = append(verdicts, fmt.Sprintf("≥ %.0f %s: %s", target, peer, clock.Verdict(min(one, many) >= target)))
		}
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %.1f, %.1f | %s | %.1f, %.1f | %s |\n", res.row.name,
		clock.Millis(res.latency["sampan"]), clock.Millis(res.latency["runc"]), clock.Millis(res.latency["crun"]), floor,
		ratio(res.latency, "runc"), ratio(res.latency, "crun"),
		clock.Millis(res.inARow["sampan"]), ratio(res.inARow, "runc"), ratio(res.inARow, "crun"), strings.Join(verdicts, "; "))
}

func (r *Report) printPeaks(w io.Writer) {
	fmt.Fprintf(w, "\nPeak memory of `create` (RSS of its largest process): ours %d KiB (≤ %d: %s), runc %d, crun %d.\n",
		r.peaks["sampan"], createLimit, clock.Verdict(r.peaks["sampan"] <= createLimit), r.peaks["runc"], r.peaks["crun"])
}
