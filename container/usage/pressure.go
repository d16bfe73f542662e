package usage

import (
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
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
	CPU    *Stall `json:"cpu,omitempty"`
	Memory *Stall `json:"memory,omitempty"`
	IO     *Stall `json:"io,omitempty"`
}

// Stall is the time in which some processes waited, or all of them.
type Stall struct {
	Some Shares `json:"some"`
	Full Shares `json:"full"`
}

// Shares are percent of the last 10, 60 and 300 seconds, and microseconds in all.
type Shares struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

// pressure reads a group's files; nil if there are none, or PSI is switched off.
func pressure(dir string) *Pressure {
	p := &Pressure{CPU: stall(dir, "cpu.pressure"), Memory: stall(dir, "memory.pressure"), IO: stall(dir, "io.pressure")}
	if p.CPU == nil && p.Memory == nil && p.IO == nil {
		return nil
	}
	return p
}

func stall(dir, name string) *Stall {
	text, err := read(dir, name)
	if err != nil {
		return nil
	}
	return parseStall(text)
}

// parseStall reads lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".
func parseStall(text string) *Stall {
	var s Stall
	found := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var to *Shares
		switch f[0] {
		case "some":
			to = &s.Some
		case "full":
			to = &s.Full
		default:
			continue
		}
		found = true
		for _, pair := range f[1:] {
			key, value, _ := strings.Cut(pair, "=")
			share, _ := strconv.ParseFloat(value, 64)
			switch key {
			case "avg10":
				to.Avg10 = share
			case "avg60":
				to.Avg60 = share
			case "avg300":
				to.Avg300 = share
			case "total":
				to.Total, _ = strconv.ParseUint(value, 10, 64)
			}
		}
	}
	if !found {
		return nil
	}
	return &s
}
