package usage

import (
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/runtime/stats"
)

// Sample is an answer of the stats route: Docker's, and pressure where the kernel
// has it.
type Sample struct {
	container.StatsResponse
	Pressure *Pressure `json:"pressure,omitempty"`
}

// Pressure is how long processes of a container waited for what they lacked (PSI, in
// the kernel's accounting/psi.rst). It exists with cgroup v2 alone.
type Pressure struct {
	CPU    *stats.PSI `json:"cpu,omitempty"`
	Memory *stats.PSI `json:"memory,omitempty"`
	IO     *stats.PSI `json:"io,omitempty"`
}

// pressure reads a group's files; nil if there are none, or PSI is switched off.
func pressure(dir string) *Pressure {
	p := &Pressure{CPU: stall(dir, "cpu.pressure"), Memory: stall(dir, "memory.pressure"), IO: stall(dir, "io.pressure")}
	if p.CPU == nil && p.Memory == nil && p.IO == nil {
		return nil
	}
	return p
}

func stall(dir, name string) *stats.PSI {
	text, err := read(dir, name)
	if err != nil {
		return nil
	}
	return stats.ParsePSI(text)
}
