package ocispec

import (
	"math"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// cpuPeriod is the scheduler's default period in microseconds, used with --cpus.
const cpuPeriod = 100_000

// resources turns the limits of the request into those of the specification.
func resources(hc *container.HostConfig, rules []specs.LinuxDeviceCgroup, host Host) (*specs.LinuxResources, error) {
	blkio, err := blockIO(hc, host)
	if err != nil {
		return nil, err
	}
	r := &specs.LinuxResources{Devices: rules, Memory: memory(hc), CPU: cpu(hc), BlockIO: blkio}
	if hc.PidsLimit != nil {
		limit := *hc.PidsLimit
		if limit <= 0 {
			limit = -1
		}
		r.Pids = &specs.LinuxPids{Limit: &limit}
	}
	return r, nil
}

func memory(hc *container.HostConfig) *specs.LinuxMemory {
	var m specs.LinuxMemory
	if hc.Memory > 0 {
		m.Limit = &hc.Memory
	}
	if hc.MemoryReservation > 0 {
		m.Reservation = &hc.MemoryReservation
	}
	if hc.MemorySwap != 0 {
		m.Swap = &hc.MemorySwap
	}
	if hc.MemorySwappiness != nil && *hc.MemorySwappiness >= 0 {
		swappiness := uint64(*hc.MemorySwappiness)
		m.Swappiness = &swappiness
	}
	if hc.OomKillDisable != nil && *hc.OomKillDisable {
		m.DisableOOMKiller = hc.OomKillDisable
	}
	if m == (specs.LinuxMemory{}) {
		return nil
	}
	return &m
}

func cpu(hc *container.HostConfig) *specs.LinuxCPU {
	var c specs.LinuxCPU
	if hc.CPUShares > 0 {
		shares := uint64(hc.CPUShares)
		c.Shares = &shares
	}
	if hc.NanoCPUs > 0 {
		period, quota := uint64(cpuPeriod), hc.NanoCPUs*cpuPeriod/1e9
		c.Period, c.Quota = &period, &quota
	}
	if hc.CPUPeriod > 0 {
		period := uint64(hc.CPUPeriod)
		c.Period = &period
	}
	if hc.CPUQuota != 0 {
		c.Quota = &hc.CPUQuota
	}
	if hc.CPURealtimePeriod > 0 {
		period := uint64(hc.CPURealtimePeriod)
		c.RealtimePeriod = &period
	}
	if hc.CPURealtimeRuntime != 0 {
		c.RealtimeRuntime = &hc.CPURealtimeRuntime
	}
	c.Cpus, c.Mems = hc.CpusetCpus, hc.CpusetMems
	if c == (specs.LinuxCPU{}) {
		return nil
	}
	return &c
}

func blockIO(hc *container.HostConfig, host Host) (*specs.LinuxBlockIO, error) {
	var b specs.LinuxBlockIO
	if hc.BlkioWeight > 0 {
		b.Weight = &hc.BlkioWeight
	}
	for _, w := range hc.BlkioWeightDevice {
		d, err := blockDevice(host, w.Path)
		if err != nil {
			return nil, err
		}
		weight := w.Weight
		entry := specs.LinuxWeightDevice{Weight: &weight}
		entry.Major, entry.Minor = d.Major, d.Minor
		b.WeightDevice = append(b.WeightDevice, entry)
	}
	for _, t := range []struct {
		from []*blkiodev.ThrottleDevice
		to   *[]specs.LinuxThrottleDevice
	}{
		{hc.BlkioDeviceReadBps, &b.ThrottleReadBpsDevice}, {hc.BlkioDeviceWriteBps, &b.ThrottleWriteBpsDevice},
		{hc.BlkioDeviceReadIOps, &b.ThrottleReadIOPSDevice}, {hc.BlkioDeviceWriteIOps, &b.ThrottleWriteIOPSDevice},
	} {
		for _, limit := range t.from {
			d, err := blockDevice(host, limit.Path)
			if err != nil {
				return nil, err
			}
			entry := specs.LinuxThrottleDevice{Rate: limit.Rate}
			entry.Major, entry.Minor = d.Major, d.Minor
			*t.to = append(*t.to, entry)
		}
	}
	if b.Weight == nil && len(b.WeightDevice)+len(b.ThrottleReadBpsDevice)+len(b.ThrottleWriteBpsDevice)+
		len(b.ThrottleReadIOPSDevice)+len(b.ThrottleWriteIOPSDevice) == 0 {
		return nil, nil
	}
	return &b, nil
}

func blockDevice(host Host, path string) (specs.LinuxDevice, error) {
	d, err := host.Device(path)
	if err != nil {
		return d, fault.New(fault.Invalid, "block I/O limit for %q: %v (name a block device of the host)", path, err)
	}
	return d, nil
}

// The limits below which the kernel or a program could not work.
const (
	minMemory  = 6 << 20
	minShares  = 2
	maxShares  = 262144
	minPeriod  = 1000
	maxPeriod  = 1_000_000
	minWeight  = 10
	maxWeight  = 1000
	maxOOMAdj  = 1000
	maxNanoCPU = math.MaxInt64 / cpuPeriod
)

// CheckResources refuses limits with Docker's sentences. cpus is the number of
// CPUs of the machine.
func CheckResources(r *container.Resources, cpus int) error {
	invalid := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	switch {
	case r.Memory < 0:
		return invalid("invalid memory limit %d: must not be negative", r.Memory)
	case r.Memory != 0 && r.Memory < minMemory:
		return invalid("Minimum memory limit allowed is 6MB")
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory == 0 && r.MemorySwap > 0:
		return invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.MemorySwappiness != nil && (*r.MemorySwappiness < -1 || *r.MemorySwappiness > 100):
		return invalid("Invalid value: %v, valid memory swappiness range is 0-100", *r.MemorySwappiness)
	case r.MemoryReservation < 0:
		return invalid("invalid memory reservation %d: must not be negative", r.MemoryReservation)
	case r.MemoryReservation > 0 && r.MemoryReservation < minMemory:
		return invalid("Minimum memory reservation allowed is 6MB")
	case r.Memory > 0 && r.MemoryReservation > r.Memory:
		return invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set.")
	case r.NanoCPUs < 0 || r.NanoCPUs > int64(cpus)*1e9 || r.NanoCPUs > maxNanoCPU:
		return invalid("range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", cpus, cpus)
	case r.CPUShares < 0:
		return invalid("invalid CPU shares (%d): value must be a positive integer", r.CPUShares)
	case r.CPUShares > maxShares || r.CPUShares == 1:
		return invalid("invalid CPU shares %d: must be between %d and %d", r.CPUShares, minShares, maxShares)
	case r.CPUPeriod != 0 && (r.CPUPeriod < minPeriod || r.CPUPeriod > maxPeriod):
		return invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < minPeriod:
		return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case r.CPUPercent > 0 || r.CPUCount > 0 || r.IOMaximumBandwidth > 0 || r.IOMaximumIOps > 0:
		return invalid("invalid option: CpuPercent, CpuCount and IOMaximum limits exist on Windows only")
	case r.BlkioWeight > 0 && (r.BlkioWeight < minWeight || r.BlkioWeight > maxWeight):
		return invalid("Range of blkio weight is from 10 to 1000")
	}
	for _, w := range r.BlkioWeightDevice {
		if w == nil || w.Weight < minWeight || w.Weight > maxWeight {
			return invalid("Range of blkio weight is from 10 to 1000")
		}
	}
	for _, list := range [][]*blkiodev.ThrottleDevice{r.BlkioDeviceReadBps, r.BlkioDeviceWriteBps, r.BlkioDeviceReadIOps, r.BlkioDeviceWriteIOps} {
		for _, d := range list {
			if d == nil {
				return invalid("invalid block I/O limit: the entry is empty")
			}
		}
	}
	if err := checkCPUSet("cpus", r.CpusetCpus); err != nil {
		return err
	}
	return checkCPUSet("mems", r.CpusetMems)
}

// CheckOOMScoreAdj refuses values outside the kernel's range.
func CheckOOMScoreAdj(adj int) error {
	if adj < -maxOOMAdj || adj > maxOOMAdj {
		return fault.New(fault.Invalid, "Invalid value %d, range for oom score adj is [-1000, 1000].", adj)
	}
	return nil
}
