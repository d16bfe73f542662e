package stats

import (
	"github.com/moby/moby/api/types/container"
)

// sample is one result: Docker's, and pressure where the daemon and its kernel
// tell of it (cgroup v2).
type sample struct {
	container.StatsResponse
	Pressure map[string]struct {
		Some struct {
			Avg10 float64 `json:"avg10"`
		} `json:"some"`
	} `json:"pressure"`
}

// CPUPressure is the share of the last ten seconds in which some process of the
// container waited for a processor.
func (r *row) CPUPressure() string { return r.pressure("cpu") }

// MemPressure is the share in which some process waited for memory.
func (r *row) MemPressure() string { return r.pressure("memory") }

// IOPressure is the share in which some process waited for a disk.
func (r *row) IOPressure() string { return r.pressure("io") }

func (r *row) pressure(of string) string {
	if r.sample == nil {
		return unknown
	}
	p, ok := r.sample.Pressure[of]
	if !ok {
		return unknown
	}
	return percent(p.Some.Avg10)
}
