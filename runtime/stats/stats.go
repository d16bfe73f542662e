// Package stats reads what a control group has used, in the form in which runc's
// command events prints it: its readers (containerd, cAdvisor, node agents) know the
// names. Both versions of control groups are read from the files of the group's
// directories; what this kernel or machine does not count is left out.
package stats

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxFile bounds what is read of one file of the kernel.
const maxFile = 1 << 20

// tick is the unit of cpuacct.stat (USER_HZ) in nanoseconds.
const tick = 1e7

// Event is one line of output.
type Event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

// Stats is the data of an event of type "stats".
type Stats struct {
	CPU       CPU                `json:"cpu"`
	CPUSet    CPUSet             `json:"cpuset"`
	Memory    Memory             `json:"memory"`
	Pids      Pids               `json:"pids"`
	Blkio     Blkio              `json:"blkio"`
	Hugetlb   map[string]Hugetlb `json:"hugetlb"`
	IntelRdt  struct{}           `json:"intel_rdt"`
	Interface []struct{}         `json:"network_interfaces"`
}

// CPU times are in nanoseconds.
type CPU struct {
	Usage      CPUUsage   `json:"usage"`
	Throttling Throttling `json:"throttling"`
	PSI        *PSI       `json:"psi,omitempty"`
}

// CPUUsage has the counts for each processor on v1 only.
type CPUUsage struct {
	Total  uint64   `json:"total,omitempty"`
	PerCPU []uint64 `json:"percpu,omitempty"`
	Kernel uint64   `json:"kernel"`
	User   uint64   `json:"user"`
}

// Throttling counts the periods in which the quota was used up.
type Throttling struct {
	Periods uint64 `json:"periods,omitempty"`
	Times   uint64 `json:"throttledPeriods,omitempty"`
	Time    uint64 `json:"throttledTime,omitempty"`
}

// PSI is how long processes waited (Documentation/accounting/psi.rst).
type PSI struct {
	Some PSILine `json:"some"`
	Full PSILine `json:"full"`
}

// PSILine holds shares in percent, and the sum in microseconds.
type PSILine struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

// CPUSet names processors and memory nodes.
type CPUSet struct {
	CPUs []uint16 `json:"cpus,omitempty"`
	Mems []uint16 `json:"mems,omitempty"`
}

// Memory is in bytes.
type Memory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     Usage             `json:"usage,omitempty"`
	Swap      Usage             `json:"swap,omitempty"`
	Kernel    Usage             `json:"kernel,omitempty"`
	KernelTCP Usage             `json:"kernelTCP,omitempty"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *PSI              `json:"psi,omitempty"`
}

// Usage of a resource that has a limit.
type Usage struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// Pids counts processes; no limit is 0.
type Pids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

// Blkio counts by device and operation.
type Blkio struct {
	Bytes []BlkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	Ops   []BlkioEntry `json:"ioServicedRecursive,omitempty"`
	PSI   *PSI         `json:"psi,omitempty"`
}

// BlkioEntry is one count.
type BlkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

// Hugetlb is the use of one size of huge pages.
type Hugetlb struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// reader reads the files of one directory. The first error other than a missing file
// is kept.
type reader struct {
	dir string
	err error
}

func (r *reader) text(name string) string {
	f, err := os.Open(filepath.Join(r.dir, name))
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxFile)); err == nil {
			return string(bytes.TrimSpace(data))
		}
	}
	// ENOTSUP and EINVAL: the kernel has the file, and not what it counts.
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) && r.err == nil {
		r.err = err
	}
	return ""
}

// number reads a file that holds one; "max" is the largest.
func (r *reader) number(name string) uint64 { return parse(r.text(name)) }

func parse(s string) uint64 {
	if s == "max" {
		return 1<<64 - 1
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// table reads lines of "key value".
func (r *reader) table(name string) map[string]uint64 {
	t := map[string]uint64{}
	for line := range strings.Lines(r.text(name)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			t[key] = parse(value)
		}
	}
	return t
}

func (r *reader) psi(name string) *PSI { return ParsePSI(r.text(name)) }

// ParsePSI reads lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; nil without any.
func ParsePSI(text string) *PSI {
	var p PSI
	found := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		l := &p.Some
		switch f[0] {
		case "some":
		case "full":
			l = &p.Full
		default:
			continue
		}
		found = true
		for _, kv := range f[1:] {
			key, value, _ := strings.Cut(kv, "=")
			share, _ := strconv.ParseFloat(value, 64)
			switch key {
			case "avg10":
				l.Avg10 = share
			case "avg60":
				l.Avg60 = share
			case "avg300":
				l.Avg300 = share
			case "total":
				l.Total = parse(value)
			}
		}
	}
	if !found {
		return nil
	}
	return &p
}

// set reads a list such as "0-2,5".
func (r *reader) set(name string) (list []uint16) {
	for part := range strings.SplitSeq(r.text(name), ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err := strconv.ParseUint(from, 10, 16)
		b, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil {
			continue
		}
		for ; a <= b && len(list) < 1<<16; a++ {
			list = append(list, uint16(a))
		}
	}
	return list
}

// Read collects the figures of a group: its directory for each controller, "" for v2,
// as cgroup.Group.Paths gives them.
func Read(paths map[string]string) (*Stats, error) {
	s := &Stats{Hugetlb: map[string]Hugetlb{}}
	for controller, dir := range paths {
		r := &reader{dir: dir}
		switch controller {
		case "":
			if len(paths) == 1 {
				s.unified(r)
			}
		case "cpuacct":
			s.CPU.Usage.Total = r.number("cpuacct.usage")
			for n := range strings.FieldsSeq(r.text("cpuacct.usage_percpu")) {
				s.CPU.Usage.PerCPU = append(s.CPU.Usage.PerCPU, parse(n))
			}
			t := r.table("cpuacct.stat")
			s.CPU.Usage.User, s.CPU.Usage.Kernel = t["user"]*tick, t["system"]*tick
		case "cpu":
			t := r.table("cpu.stat")
			s.CPU.Throttling = Throttling{t["nr_periods"], t["nr_throttled"], t["throttled_time"]}
		case "cpuset":
			s.CPUSet = CPUSet{r.set("cpuset.cpus"), r.set("cpuset.mems")}
		case "memory":
			s.Memory.Raw = r.table("memory.stat")
			s.Memory.Cache = s.Memory.Raw["cache"]
			s.Memory.Usage, s.Memory.Swap = r.usage("memory."), r.usage("memory.memsw.")
			s.Memory.Kernel, s.Memory.KernelTCP = r.usage("memory.kmem."), r.usage("memory.kmem.tcp.")
		case "pids":
			s.Pids = r.pids()
		case "blkio":
			s.Blkio.Bytes = r.blkio("blkio.throttle.io_service_bytes_recursive")
			s.Blkio.Ops = r.blkio("blkio.throttle.io_serviced_recursive")
		case "hugetlb":
			s.hugetlb(r, ".usage_in_bytes")
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	return s, nil
}

// usage reads the counters of v1 with one prefix.
func (r *reader) usage(prefix string) Usage {
	return Usage{r.number(prefix + "limit_in_bytes"), r.number(prefix + "usage_in_bytes"), r.number(prefix + "max_usage_in_bytes"), r.number(prefix + "failcnt")}
}

func (r *reader) pids() Pids {
	p := Pids{Current: r.number("pids.current")}
	if limit := r.text("pids.max"); limit != "max" {
		p.Limit = parse(limit)
	}
	return p
}

// blkio reads lines of "8:0 Read 123".
func (r *reader) blkio(name string) (list []BlkioEntry) {
	for line := range strings.Lines(r.text(name)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		major, minor, _ := strings.Cut(f[0], ":")
		list = append(list, BlkioEntry{parse(major), parse(minor), f[1], parse(f[2])})
	}
	return list
}

func (s *Stats) hugetlb(r *reader, suffix string) {
	files, _ := filepath.Glob(filepath.Join(r.dir, "hugetlb.*"+suffix))
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), suffix)
		size := strings.TrimPrefix(name, "hugetlb.")
		if strings.Contains(size, ".") {
			continue // hugetlb.2MB.rsvd
		}
		h := Hugetlb{Usage: r.number(name + suffix), Max: r.number(name + ".max_usage_in_bytes"), Failcnt: r.number(name + ".failcnt")}
		if suffix == ".current" {
			h.Failcnt = r.table(name + ".events")["max"]
		}
		s.Hugetlb[size] = h
	}
}

// unified reads a v2 group. Its times are in microseconds.
func (s *Stats) unified(r *reader) {
	const microsecond = 1000
	t := r.table("cpu.stat")
	s.CPU.Usage = CPUUsage{Total: t["usage_usec"] * microsecond, User: t["user_usec"] * microsecond, Kernel: t["system_usec"] * microsecond}
	s.CPU.Throttling = Throttling{t["nr_periods"], t["nr_throttled"], t["throttled_usec"] * microsecond}
	s.CPU.PSI = r.psi("cpu.pressure")
	s.CPUSet = CPUSet{r.set("cpuset.cpus.effective"), r.set("cpuset.mems.effective")}
	s.Memory.Raw = r.table("memory.stat")
	s.Memory.Cache = s.Memory.Raw["file"]
	s.Memory.Usage = Usage{r.number("memory.max"), r.number("memory.current"), r.number("memory.peak"), r.table("memory.events")["max"]}
	s.Memory.Swap = Usage{r.number("memory.swap.max"), r.number("memory.swap.current"), r.number("memory.swap.peak"), r.table("memory.swap.events")["fail"]}
	if s.Memory.Swap.Limit != 1<<64-1 {
		s.Memory.Swap.Limit += s.Memory.Usage.Limit // as v1 counts: memory and swap together
	}
	s.Memory.Swap.Usage += s.Memory.Usage.Usage
	s.Memory.PSI = r.psi("memory.pressure")
	s.Pids = r.pids()
	for line := range strings.Lines(r.text("io.stat")) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		major, minor, _ := strings.Cut(f[0], ":")
		for _, kv := range f[1:] {
			key, value, _ := strings.Cut(kv, "=")
			e := BlkioEntry{Major: parse(major), Minor: parse(minor), Value: parse(value)}
			switch key {
			case "rbytes", "rios":
				e.Op = "Read"
			case "wbytes", "wios":
				e.Op = "Write"
			case "dbytes", "dios":
				e.Op = "Discard"
			}
			if strings.HasSuffix(key, "bytes") {
				s.Blkio.Bytes = append(s.Blkio.Bytes, e)
			} else {
				s.Blkio.Ops = append(s.Blkio.Ops, e)
			}
		}
	}
	s.Blkio.PSI = r.psi("io.pressure")
	s.hugetlb(r, ".current")
}
