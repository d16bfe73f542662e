package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/rdt"
	"github.com/sampan-containers/sampan/runtime/systemd"
)

// updateOptions are texts, so that what was not given is known.
type updateOptions struct {
	file                                         string
	weight, period, quota, burst, share, idle    string
	rtPeriod, rtRuntime, cpus, mems              string
	memory, reservation, swap, kernel, kernelTCP string
	pids, l3, mb                                 string
}

func (o *updateOptions) flags() flags {
	f := func(name string, to *string, about string) flag {
		return flag{names: name, text: to, about: about}
	}
	return flags{
		f("resources r", &o.file, "path to the file containing the resources to update or '-' to read from the standard input; all other options are ignored then"),
		f("blkio-weight", &o.weight, "Specifies per cgroup weight, range is from 10 to 1000"),
		f("cpu-period", &o.period, "CPU CFS period to be used for hardcapping (in usecs). 0 to use system default"),
		f("cpu-quota", &o.quota, "CPU CFS hardcap limit (in usecs). Allowed cpu time in a given period"),
		f("cpu-burst", &o.burst, "CPU CFS hardcap burst limit (in usecs). Allowed accumulated cpu time additional for burst a given period"),
		f("cpu-share", &o.share, "CPU shares (relative weight vs. other containers)"),
		f("cpu-rt-period", &o.rtPeriod, "CPU realtime period to be used for hardcapping (in usecs). 0 to use system default"),
		f("cpu-rt-runtime", &o.rtRuntime, "CPU realtime hardcap limit (in usecs). Allowed cpu time in a given period"),
		f("cpuset-cpus", &o.cpus, "CPU(s) to use"),
		f("cpuset-mems", &o.mems, "Memory node(s) to use"),
		f("kernel-memory", &o.kernel, "(obsoleted; do not use)"),
		f("kernel-memory-tcp", &o.kernelTCP, "(obsoleted; do not use)"),
		f("memory", &o.memory, "Memory limit (in bytes)"),
		f("memory-reservation", &o.reservation, "Memory reservation or soft_limit (in bytes)"),
		f("memory-swap", &o.swap, "Total memory usage (memory + swap); set '-1' to enable unlimited swap"),
		f("pids-limit", &o.pids, "Maximum number of pids allowed in the container"),
		f("l3-cache-schema", &o.l3, "The string of Intel RDT/CAT L3 cache schema"),
		f("mem-bw-schema", &o.mb, "The string of Intel RDT/MBA memory bandwidth schema"),
		f("cpu-idle", &o.idle, "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE"),
	}
}

func updateCommand(c *call) (int, error) {
	var o updateOptions
	args, err := c.parse(o.flags(), 1, 1)
	if err != nil {
		return 0, err
	}
	k, err := c.records.Open(args[0])
	if err != nil {
		return 0, err
	}
	defer k.Close()
	if k.Status() == record.Stopped {
		return 0, fault.New(fault.Conflict, "container not running: %s; its limits went with its processes", k.ID)
	}
	res, err := o.resources()
	if err != nil {
		return 0, err
	}
	if err := rdt.Change(k.ID, k.Spec.Linux, o.l3, o.mb); err != nil {
		return 0, err
	}
	g, err := k.Group()
	if err != nil {
		return 0, err
	}
	defer g.Close()
	if k.Unit != "" {
		return 0, systemd.Update(context.Background(), k.Unit, g, res)
	}
	return 0, g.Update(res)
}

// resources are the limits that the options name.
func (o *updateOptions) resources() (*specs.LinuxResources, error) {
	res := new(specs.LinuxResources)
	if o.file != "" {
		return res, readResources(o.file, res)
	}
	cpu, mem := new(specs.LinuxCPU), new(specs.LinuxMemory)
	for _, n := range []struct {
		option, text string
		to           **int64
	}{
		{"cpu-quota", o.quota, &cpu.Quota}, {"cpu-rt-runtime", o.rtRuntime, &cpu.RealtimeRuntime}, {"cpu-idle", o.idle, &cpu.Idle},
	} {
		if n.text == "" {
			continue
		}
		v, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid value for %s: %q is not a whole number", n.option, n.text)
		}
		*n.to = &v
	}
	for _, n := range []struct {
		option, text string
		to           **uint64
	}{{"cpu-period", o.period, &cpu.Period}, {"cpu-burst", o.burst, &cpu.Burst}, {"cpu-share", o.share, &cpu.Shares}, {"cpu-rt-period", o.rtPeriod, &cpu.RealtimePeriod}} {
		if n.text == "" {
			continue
		}
		v, err := strconv.ParseUint(n.text, 10, 64)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid value for %s: %q is not a whole number", n.option, n.text)
		}
		*n.to = &v
	}
	for _, n := range []struct {
		option, text string
		to           **int64
	}{{"memory", o.memory, &mem.Limit}, {"memory-reservation", o.reservation, &mem.Reservation}, {"memory-swap", o.swap, &mem.Swap}} {
		if n.text == "" {
			continue
		}
		v, err := config.Size(n.text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid value for %s: %q is not a number of bytes, as in 67108864, 64M or 1.5g", n.option, n.text)
		}
		*n.to = &v
	}
	cpu.Cpus, cpu.Mems = o.cpus, o.mems
	res.CPU, res.Memory = cpu, mem
	if o.pids != "" {
		v, err := strconv.ParseInt(o.pids, 10, 64)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid value for pids-limit: %q is not a whole number", o.pids)
		}
		res.Pids = &specs.LinuxPids{Limit: &v}
	}
	if o.weight != "" {
		v, err := strconv.ParseUint(o.weight, 10, 16)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid value for blkio-weight: %q is not a whole number up to 1000", o.weight)
		}
		weight := uint16(v)
		res.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
	}
	return res, nil
}

// readResources reads linux.resources from a file, or with "-" from standard input.
func readResources(name string, to *specs.LinuxResources) error {
	if name != "-" {
		return config.ReadJSON(name, to)
	}
	data, err := io.ReadAll(io.LimitReader(os.Stdin, config.Max+1))
	if err == nil && len(data) > config.Max {
		err = errors.New("it is too long")
	}
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		return fault.New(fault.Invalid, "the resources on standard input are not valid: %w", err)
	}
	return nil
}
