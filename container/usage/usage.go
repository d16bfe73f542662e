// Package usage reads what a container uses: processor time, memory, block I/O,
// processes and network, from its control groups (v1 and v2) and from the network
// namespace of its first process, in the form of the Engine API.
//
// A sample costs a dozen small reads and keeps nothing open; nobody pays while
// nobody asks. Counters that a kernel or a machine does not have stay zero.
package usage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// maxFile bounds what is read from one file: a machine with thousands of block
// devices or interfaces fits.
const maxFile = 4 << 20

// Source says where a container's counters are.
type Source struct {
	// Groups maps a controller to the group's directory; "" is cgroup v2.
	Groups map[string]string
	// NetPid is a process in the container's network namespace; 0: the container
	// has none of its own.
	NetPid int
	// CPUOnly leaves out everything else: the sample before another one is asked
	// for processor time alone.
	CPUOnly bool
}

// Read takes one sample. A container whose groups have gone is fault.NotFound.
func Read(s Source) (*Sample, error) {
	out := &Sample{StatsResponse: container.StatsResponse{OSType: "linux", Read: time.Now().UTC()}}
	var err error
	switch dir, v2 := s.unified(); {
	case v2 && s.CPUOnly:
		err = v2CPU(dir, &out.CPUStats)
	case v2:
		err = readV2(dir, &out.StatsResponse)
		out.Pressure = pressure(dir)
	case s.CPUOnly:
		err = s.v1CPU(&out.CPUStats)
	default:
		err = s.readV1(&out.StatsResponse)
	}
	if err != nil {
		return nil, err
	}
	out.CPUStats.OnlineCPUs = uint32(runtime.NumCPU())
	out.CPUStats.SystemUsage = systemTime()
	if s.CPUOnly {
		return out, nil
	}
	if out.MemoryStats.Usage > 0 {
		if total := machineMemory(); out.MemoryStats.Limit == 0 || out.MemoryStats.Limit > total {
			out.MemoryStats.Limit = total
		}
	}
	if s.NetPid > 0 {
		if out.Networks, err = interfaces(fmt.Sprintf("/proc/%d/net/dev", s.NetPid)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Source) unified() (dir string, ok bool) {
	return s.Groups[""], s.Groups[""] != "" && s.Groups["memory"] == "" && s.Groups["cpuacct"] == ""
}

// systemTime is the time of all processors since boot, busy or idle. /proc/stat
// has the same sum in steps of 10 ms, too coarse for two samples close together.
func systemTime() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano()) * uint64(runtime.NumCPU())
}

func machineMemory() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return info.Totalram * uint64(info.Unit)
}

// read returns a file's text; a file that the kernel does not have is empty.
func read(dir, name string) (string, error) {
	f, err := os.Open(dir + "/" + name)
	if errors.Is(err, os.ErrNotExist) || dir == "" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(io.LimitReader(f, maxFile))
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil // the group went away, or its controller has no such counter
	}
	return b.String(), err
}

// number reads a file of one number; "max" is the largest.
func number(dir, name string) (uint64, error) {
	text, err := read(dir, name)
	if err != nil {
		return 0, err
	}
	text = strings.TrimSpace(text)
	switch text {
	case "":
		return 0, nil
	case "max":
		return 1<<64 - 1, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s/%s: %w", dir, name, err)
	}
	return n, nil
}

// keyed reads a file of "key value" lines.
func keyed(dir, name string) (map[string]uint64, error) {
	text, err := read(dir, name)
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			out[key] = n
		}
	}
	return out, nil
}

// gone is the error of a container without groups.
func gone() error {
	return fault.New(fault.NotFound, "the control groups of the container have gone")
}
