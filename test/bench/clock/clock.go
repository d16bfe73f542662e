// Package clock times what a benchmark does, and writes durations and verdicts as its
// tables do.
package clock

import (
	"fmt"
	"slices"
	"time"
)

// Median of durations; zero for none.
func Median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// Timed returns how long f took.
func Timed(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

// Millis writes a duration as the tables do.
func Millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// Verdict marks a figure that misses its target, so that nobody has to compare.
func Verdict(ok bool) string {
	if ok {
		return "reached"
	}
	return "MISSED"
}
