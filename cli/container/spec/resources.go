package spec

import (
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/value"
)

// memory: limits of memory and processes.
type memory struct {
	limit, reservation, kernel value.Bytes
	swap                       value.SwapBytes
	swappiness                 int64
	oomKillDisable             bool
	pids                       int64
}

// KernelMemory is said in place of a limit that no field of the API holds any more.
const KernelMemory = "--kernel-memory has no effect: the kernel dropped this limit (Linux 5.16); use --memory"

func (m *memory) register(fs *pflag.FlagSet) {
	fs.VarP(&m.limit, "memory", "m", "Memory limit")
	fs.Var(&m.reservation, "memory-reservation", "Memory soft limit")
	fs.Var(&m.swap, "memory-swap", "Limit of memory plus swap (-1 for unlimited swap)")
	fs.Int64Var(&m.swappiness, "memory-swappiness", -1, "Tendency to swap (0 to 100)")
	fs.Var(&m.kernel, "kernel-memory", "Kernel memory limit")
	// Registered just above, so the call cannot fail.
	_ = fs.MarkHidden("kernel-memory")
	fs.BoolVar(&m.oomKillDisable, "oom-kill-disable", false, "Disable the OOM killer")
	fs.Int64Var(&m.pids, "pids-limit", 0, "Limit of processes (-1 for unlimited)")
}

func (m *memory) apply(r *Request, set func(string) bool) error {
	if m.kernel != 0 {
		r.Warnings = append(r.Warnings, KernelMemory)
	}
	if err := value.CheckSwappiness(m.swappiness); err != nil {
		return err
	}
	h := &r.Host.Resources
	h.Memory, h.MemoryReservation, h.MemorySwap = int64(m.limit), int64(m.reservation), int64(m.swap)
	if set("memory-swappiness") && m.swappiness != -1 {
		h.MemorySwappiness = &m.swappiness
	}
	h.OomKillDisable, h.PidsLimit = &m.oomKillDisable, &m.pids
	return nil
}

// processors: limits and placement of processor time.
type processors struct {
	shares, period, quota, rtPeriod, rtRuntime int64
	cpus                                       value.CPUs
	cpuset, mems, parent                       string
}

func (p *processors) register(fs *pflag.FlagSet) {
	fs.Int64VarP(&p.shares, "cpu-shares", "c", 0, "Processor shares (relative weight)")
	fs.Int64Var(&p.period, "cpu-period", 0, "Period of the processor quota in microseconds")
	fs.Int64Var(&p.quota, "cpu-quota", 0, "Processor time within a period in microseconds")
	fs.Int64Var(&p.rtPeriod, "cpu-rt-period", 0, "Real-time period in microseconds")
	fs.Int64Var(&p.rtRuntime, "cpu-rt-runtime", 0, "Real-time runtime in microseconds")
	fs.Var(&p.cpus, "cpus", "Number of processors")
	fs.StringVar(&p.cpuset, "cpuset-cpus", "", "Processors that may be used (0-3, 0,1)")
	fs.StringVar(&p.mems, "cpuset-mems", "", "Memory nodes that may be used (0-3, 0,1)")
	fs.StringVar(&p.parent, "cgroup-parent", "", "Parent cgroup of the container")
}

func (p *processors) apply(r *Request, _ func(string) bool) error {
	h := &r.Host.Resources
	h.CPUShares, h.CPUPeriod, h.CPUQuota = p.shares, p.period, p.quota
	h.CPURealtimePeriod, h.CPURealtimeRuntime = p.rtPeriod, p.rtRuntime
	h.NanoCPUs, h.CpusetCpus, h.CpusetMems, h.CgroupParent = int64(p.cpus), p.cpuset, p.mems, p.parent
	return nil
}

// blockIO: limits of block devices.
type blockIO struct {
	weight                                 uint16
	weights                                value.WeightDevices
	readBps, writeBps, readIOps, writeIOps value.ThrottleDevices
}

func newBlockIO() *blockIO {
	return &blockIO{
		readBps: value.NewThrottleBytes(), writeBps: value.NewThrottleBytes(),
		readIOps: value.NewThrottleOps(), writeIOps: value.NewThrottleOps(),
	}
}

func (b *blockIO) register(fs *pflag.FlagSet) {
	fs.Uint16Var(&b.weight, "blkio-weight", 0, "Block I/O weight (10 to 1000, 0 to disable)")
	fs.Var(&b.weights, "blkio-weight-device", "Block I/O weight of one device (DEVICE:WEIGHT)")
	fs.Var(&b.readBps, "device-read-bps", "Limit the read rate of a device in bytes per second")
	fs.Var(&b.readIOps, "device-read-iops", "Limit the read rate of a device in operations per second")
	fs.Var(&b.writeBps, "device-write-bps", "Limit the write rate of a device in bytes per second")
	fs.Var(&b.writeIOps, "device-write-iops", "Limit the write rate of a device in operations per second")
}

func (b *blockIO) apply(r *Request, _ func(string) bool) error {
	h := &r.Host.Resources
	h.BlkioWeight, h.BlkioWeightDevice = b.weight, b.weights.Values
	h.BlkioDeviceReadBps, h.BlkioDeviceWriteBps = b.readBps.Values, b.writeBps.Values
	h.BlkioDeviceReadIOps, h.BlkioDeviceWriteIOps = b.readIOps.Values, b.writeIOps.Values
	return nil
}

// windows: flags that only Windows daemons understand.
type windows struct {
	cpuCount, cpuPercent int64
	maxBandwidth         value.Bytes
	maxIOps              uint64
	isolation            string
}

func (w *windows) register(fs *pflag.FlagSet) {
	fs.Int64Var(&w.cpuCount, "cpu-count", 0, "Processor count (Windows only)")
	fs.Int64Var(&w.cpuPercent, "cpu-percent", 0, "Processor percent (Windows only)")
	fs.Var(&w.maxBandwidth, "io-maxbandwidth", "Maximum bandwidth of the system drive (Windows only)")
	fs.Uint64Var(&w.maxIOps, "io-maxiops", 0, "Maximum operations per second of the system drive (Windows only)")
	fs.StringVar(&w.isolation, "isolation", "", "Isolation technology")
}

func (w *windows) apply(r *Request, set func(string) bool) error {
	for _, name := range []string{"cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"} {
		if set(name) {
			return app.Refuse(name, "it is for Windows containers only")
		}
	}
	r.Host.Isolation = container.Isolation(w.isolation)
	return nil
}
