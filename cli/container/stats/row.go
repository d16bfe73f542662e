package stats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/docker/go-units"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
)

var table = format.List{
	Table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
	Quiet: "{{.ID}}",
	Headers: map[string]string{
		"Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
		"MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
		"CPUPressure": "CPU PRESSURE", "MemPressure": "MEM PRESSURE", "IOPressure": "I/O PRESSURE",
	},
}

// row is one line of `stats`; its exported methods are the fields of --format.
type row struct {
	name  string // as the user wrote it
	full  bool
	stop  context.CancelFunc
	ready chan struct{} // closed with the first result, or a failure

	mu     sync.Mutex
	sample *sample // nil: unknown
	err    error
}

// follow reads the stream of a container until it ends.
func (r *row) follow(ctx context.Context, conn *connect.Conn) {
	var once sync.Once
	ready := func() { once.Do(func() { close(r.ready) }) }
	defer ready()
	fail := func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sample, r.err = nil, err
	}
	got, err := conn.ContainerStats(ctx, r.name, client.ContainerStatsOptions{Stream: true})
	if err != nil {
		fail(err)
		return
	}
	defer got.Body.Close()
	for dec := json.NewDecoder(got.Body); ; {
		var s sample
		if err := dec.Decode(&s); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.EOF
			}
			fail(err)
			return
		}
		r.set(&s)
		ready()
	}
}

func (r *row) set(s *sample) {
	terminal.CleanDeep(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sample, r.err = s, nil
}

func (r *row) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// is tells whether the row is that of a container's id or name.
func (r *row) is(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name == id || r.sample != nil && r.sample.ID == id
}

// snapshot is a copy that does not change while it is printed.
func (r *row) snapshot() *row {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &row{name: r.name, full: r.full, sample: r.sample}
}

// unknown is shown for what cannot be read.
const unknown = "--"

func (*row) Row() {}

// Container is the container as it was named, or its id.
func (r *row) Container() string { return r.name }

// ID is the container's id.
func (r *row) ID() string {
	if r.sample == nil {
		return format.ID(r.name, r.full)
	}
	return format.ID(r.sample.ID, r.full)
}

// Name is the container's name.
func (r *row) Name() string {
	if r.sample == nil || len(r.sample.Name) < 2 {
		return unknown
	}
	return strings.TrimPrefix(r.sample.Name, "/")
}

// CPUPerc is the use of processors; each counts for 100 %.
func (r *row) CPUPerc() string {
	if r.sample == nil {
		return unknown
	}
	return percent(cpuShare(r.sample))
}

// MemUsage is the memory used and its limit.
func (r *row) MemUsage() string {
	if r.sample == nil {
		return unknown + " / " + unknown
	}
	return units.BytesSize(float64(memoryUsed(r.sample))) + " / " + units.BytesSize(float64(r.sample.MemoryStats.Limit))
}

// MemPerc is the part of the limit that is used.
func (r *row) MemPerc() string {
	if r.sample == nil {
		return unknown
	}
	limit := r.sample.MemoryStats.Limit
	if limit == 0 {
		return percent(0)
	}
	return percent(float64(memoryUsed(r.sample)) / float64(limit) * 100)
}

// NetIO is what was received and sent over all interfaces.
func (r *row) NetIO() string {
	if r.sample == nil {
		return unknown
	}
	var in, out uint64
	for _, n := range r.sample.Networks {
		in += n.RxBytes
		out += n.TxBytes
	}
	return both(in, out)
}

// BlockIO is what was read from and written to block devices.
func (r *row) BlockIO() string {
	if r.sample == nil {
		return unknown
	}
	var in, out uint64
	for _, e := range r.sample.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(e.Op) {
		case "read":
			in += e.Value
		case "write":
			out += e.Value
		}
	}
	return both(in, out)
}

// PIDs is the number of processes and threads.
func (r *row) PIDs() string {
	if r.sample == nil {
		return unknown
	}
	return strconv.FormatUint(r.sample.PidsStats.Current, 10)
}

func percent(p float64) string { return fmt.Sprintf("%.2f%%", p) }

func both(in, out uint64) string {
	return units.HumanSizeWithPrecision(float64(in), 3) + " / " + units.HumanSizeWithPrecision(float64(out), 3)
}

// cpuShare is the container's part of the processors' time between two samples.
func cpuShare(s *sample) float64 {
	used := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	system := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	cpus := float64(s.CPUStats.OnlineCPUs)
	if cpus == 0 {
		cpus = float64(len(s.CPUStats.CPUUsage.PercpuUsage))
	}
	if used <= 0 || system <= 0 {
		return 0
	}
	return used / system * cpus * 100
}

// memoryUsed is the usage without the file cache that the kernel gives back
// first. The name of that counter tells the versions of cgroups apart.
func memoryUsed(s *sample) uint64 {
	usage := s.MemoryStats.Usage
	for _, key := range []string{"total_inactive_file", "inactive_file"} {
		if cache, ok := s.MemoryStats.Stats[key]; ok {
			if cache < usage {
				return usage - cache
			}
			return usage
		}
	}
	return usage
}
