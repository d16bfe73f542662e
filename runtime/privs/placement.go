package privs

import (
	"math/bits"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// maxBits bounds the sets of processors and memory nodes: the kernel's largest
// configurations are 8192 processors and 1024 nodes.
const maxBits = 8192

// parseSet reads a list such as "0-3,7" into a mask of words.
func parseSet(text string) ([]uint64, error) {
	mask := []uint64{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err := strconv.ParseUint(from, 10, 16)
		b, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil || a > b || b >= maxBits {
			return nil, fault.New(fault.Invalid, "%q is not a list of numbers and ranges below %d, such as 0-3,7", text, maxBits)
		}
		for ; a <= b; a++ {
			for uint64(len(mask)) <= a/bits.UintSize {
				mask = append(mask, 0)
			}
			mask[a/bits.UintSize] |= 1 << (a % bits.UintSize)
		}
	}
	if len(mask) == 0 {
		return nil, fault.New(fault.Invalid, "%q names nothing", text)
	}
	return mask, nil
}

// words copies a mask into the program.
func words(b *launch.Builder, mask []uint64) launch.Memory {
	return b.Data(unsafe.Slice((*byte)(unsafe.Pointer(&mask[0])), len(mask)*8))
}

// Affinity adds the set of processors on which the process may run, named by the field
// of process.execCPUAffinity.
func Affinity(b *launch.Builder, field string, a *specs.CPUAffinity) error {
	if a == nil {
		return nil
	}
	list := a.Initial
	if field == "final" {
		list = a.Final
	}
	if list == "" {
		return nil
	}
	mask, err := parseSet(list)
	if err != nil {
		return fault.New(fault.Invalid, "process.execCPUAffinity.%s: %w", field, err)
	}
	b.At("run on the processors "+list,
		launch.Hint{Errno: syscall.EINVAL, Text: "none of them is there, or the cpuset of the container has none of them"})
	b.Call(unix.SYS_SCHED_SETAFFINITY, launch.Int(0), launch.Int(len(mask)*8), words(b, mask).Addr())
	return nil
}

// MemoryPolicy adds the NUMA policy (set_mempolicy(2)).
func MemoryPolicy(b *launch.Builder, p *specs.LinuxMemoryPolicy) error {
	if p == nil {
		return nil
	}
	mode := -1
	for i, m := range [...]specs.MemoryPolicyModeType{ // by their numbers in linux/mempolicy.h
		specs.MpolDefault, specs.MpolPreferred, specs.MpolBind, specs.MpolInterleave, specs.MpolLocal,
		specs.MpolPreferredMany, specs.MpolWeightedInterleave,
	} {
		if m == p.Mode {
			mode = i
		}
	}
	if mode < 0 {
		return fault.New(fault.Invalid, "linux.memoryPolicy: invalid memory policy mode %q", p.Mode)
	}
	for _, f := range p.Flags {
		switch f {
		case specs.MpolFNumaBalancing:
			mode |= 1 << 13
		case specs.MpolFRelativeNodes:
			mode |= 1 << 14
		case specs.MpolFStaticNodes:
			mode |= 1 << 15
		default:
			return fault.New(fault.Invalid, "linux.memoryPolicy: invalid memory policy flag %q", f)
		}
	}
	b.AtSite(launch.Site{What: "set the memory policy " + string(p.Mode), Class: fault.Invalid, Hints: []launch.Hint{
		{Errno: syscall.ENOSYS, Text: "this kernel has no memory policies"},
		{Errno: syscall.EINVAL, Text: "the mode does not go with these nodes or flags, or the nodes have no memory"},
	}})
	if p.Nodes == "" {
		b.Call(unix.SYS_SET_MEMPOLICY, launch.Int(mode), launch.Int(0), launch.Int(0))
		return nil
	}
	mask, err := parseSet(p.Nodes)
	if err != nil {
		return fault.New(fault.Invalid, "linux.memoryPolicy: invalid memory policy node list: %w", err)
	}
	// The kernel takes one bit off the length (set_mempolicy(2), bugs).
	b.Call(unix.SYS_SET_MEMPOLICY, launch.Int(mode), words(b, mask).Addr(), launch.Int(len(mask)*bits.UintSize+1))
	return nil
}

// Personality adds the execution domain. The specification defines no flags.
func Personality(b *launch.Builder, p *specs.LinuxPersonality) error {
	if p == nil {
		return nil
	}
	domain := 0
	switch p.Domain {
	case specs.PerLinux:
	case specs.PerLinux32:
		domain = 8
	default:
		return fault.New(fault.Invalid, "linux.personality.domain %q is neither LINUX nor LINUX32", p.Domain)
	}
	if len(p.Flags) > 0 {
		return fault.New(fault.Invalid, "linux.personality.flags has %q, but the specification defines no flags", string(p.Flags[0]))
	}
	b.At("set the personality " + string(p.Domain))
	b.Call(unix.SYS_PERSONALITY, launch.Int(domain))
	return nil
}
