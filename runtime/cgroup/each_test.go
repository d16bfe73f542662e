package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// v1Controllers are those of Documentation/admin-guide/cgroup-v1.
var v1Controllers = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "net_cls", "blkio", "perf_event", "net_prio", "hugetlb", "pids", "rdma"}

// The virtual machine's kernel has all of them; what another kernel lacks is said.
func TestThirteenControllers(t *testing.T) {
	m := real(t)
	if m.layout == V2 {
		t.Skip("this machine has cgroup v2 only")
	}
	g := create(t, m, nil)
	cmd := inside(t, g, "sleep 100")
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	must(t, err)
	var lacking []string
	for _, c := range v1Controllers {
		if !m.onV1(c) {
			lacking = append(lacking, c)
			continue
		}
		joined := false
		for line := range strings.Lines(string(table)) {
			f := strings.SplitN(strings.TrimSpace(line), ":", 3)
			joined = joined || slices.Contains(strings.Split(f[1], ","), c) && strings.HasSuffix(f[2], g.Path())
		}
		if !joined {
			t.Errorf("the process is not in the group of %s:\n%s", c, table)
		}
	}
	if len(lacking) > 0 {
		if os.Getenv("SAMPAN_VM") != "" && m.layout == V1 {
			t.Errorf("the virtual machine lacks %v", lacking)
		}
		t.Logf("this machine lacks the v1 controllers %v", lacking)
	}
}

// limitCase is one limit: as it is created, as it is updated on a running container,
// and what the files say then. A file with a slash in front belongs to no fixed controller.
type limitCase struct {
	name       string
	controller [2]string // v1, v2
	file       [2]string
	made, next specs.LinuxResources
	want       [2][2]string // [v1, v2][created, updated]
	contains   bool         // want is a part of the file
}

// disk is a block device, best one with the scheduler that has weights.
func disk() (number string, major, minor int64, bfq bool) {
	all, _ := filepath.Glob("/sys/block/*")
	for _, dir := range all {
		if name := filepath.Base(dir); strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "dm-") {
			continue
		}
		raw, err := os.ReadFile(dir + "/dev")
		if err != nil {
			continue
		}
		scheduler, _ := os.ReadFile(dir + "/queue/scheduler")
		number = strings.TrimSpace(string(raw))
		a, b, _ := strings.Cut(number, ":")
		major, _ = strconv.ParseInt(a, 10, 64)
		minor, _ = strconv.ParseInt(b, 10, 64)
		if bfq = strings.Contains(string(scheduler), "[bfq]"); bfq {
			return number, major, minor, bfq
		}
	}
	return number, major, minor, false
}

func throttleOf(major, minor int64, rate uint64) []specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major, d.Minor = major, minor
	return []specs.LinuxThrottleDevice{d}
}

func weightOf(major, minor int64, weight uint16) []specs.LinuxWeightDevice {
	d := specs.LinuxWeightDevice{Weight: &weight}
	d.Major, d.Minor = major, minor
	return []specs.LinuxWeightDevice{d}
}

func limitCases() []limitCase {
	cpu := func(c specs.LinuxCPU) specs.LinuxResources { return specs.LinuxResources{CPU: &c} }
	mem := func(m specs.LinuxMemory) specs.LinuxResources { return specs.LinuxResources{Memory: &m} }
	blk := func(b specs.LinuxBlockIO) specs.LinuxResources { return specs.LinuxResources{BlockIO: &b} }
	number, major, minor, bfq := disk()
	list := []limitCase{
		{"cpu shares", [2]string{"cpu", "cpu"}, [2]string{"cpu.shares", "cpu.weight"},
			cpu(specs.LinuxCPU{Shares: ptr(uint64(512))}), cpu(specs.LinuxCPU{Shares: ptr(uint64(2048))}), [2][2]string{{"512", "2048"}, {"59", "174"}}, false},
		{"cpu quota", [2]string{"cpu", "cpu"}, [2]string{"cpu.cfs_quota_us", "cpu.max"},
			cpu(specs.LinuxCPU{Quota: ptr(int64(20000)), Period: ptr(uint64(50000))}), cpu(specs.LinuxCPU{Quota: ptr(int64(30000)), Period: ptr(uint64(100000))}),
			[2][2]string{{"20000", "30000"}, {"20000 50000", "30000 100000"}}, false},
		{"cpu period", [2]string{"cpu", ""}, [2]string{"cpu.cfs_period_us", ""},
			cpu(specs.LinuxCPU{Period: ptr(uint64(50000))}), cpu(specs.LinuxCPU{Period: ptr(uint64(70000))}), [2][2]string{{"50000", "70000"}}, false},
		{"cpu burst", [2]string{"cpu", "cpu"}, [2]string{"cpu.cfs_burst_us", "cpu.max.burst"},
			cpu(specs.LinuxCPU{Quota: ptr(int64(20000)), Burst: ptr(uint64(1000))}), cpu(specs.LinuxCPU{Burst: ptr(uint64(2000))}), [2][2]string{{"1000", "2000"}, {"1000", "2000"}}, false},
		{"cpu idle", [2]string{"cpu", "cpu"}, [2]string{"cpu.idle", "cpu.idle"},
			cpu(specs.LinuxCPU{Idle: ptr(int64(1))}), cpu(specs.LinuxCPU{Idle: ptr(int64(0))}), [2][2]string{{"1", "0"}, {"1", "0"}}, false},
		{"cpu real-time", [2]string{"cpu", ""}, [2]string{"cpu.rt_period_us", ""},
			cpu(specs.LinuxCPU{RealtimePeriod: ptr(uint64(900000))}), cpu(specs.LinuxCPU{RealtimePeriod: ptr(uint64(800000))}), [2][2]string{{"900000", "800000"}}, false},
		{"cpuset CPUs", [2]string{"cpuset", "cpuset"}, [2]string{"cpuset.cpus", "cpuset.cpus"},
			cpu(specs.LinuxCPU{Cpus: "0"}), cpu(specs.LinuxCPU{Cpus: "0-1"}), [2][2]string{{"0", "0-1"}, {"0", "0-1"}}, false},
		{"cpuset nodes", [2]string{"cpuset", "cpuset"}, [2]string{"cpuset.mems", "cpuset.mems"},
			cpu(specs.LinuxCPU{Mems: "0"}), cpu(specs.LinuxCPU{Mems: "0"}), [2][2]string{{"0", "0"}, {"0", "0"}}, false},
		{"memory", [2]string{"memory", "memory"}, [2]string{"memory.limit_in_bytes", "memory.max"},
			mem(specs.LinuxMemory{Limit: ptr(int64(64 << 20))}), mem(specs.LinuxMemory{Limit: ptr(int64(96 << 20))}), [2][2]string{{"67108864", "100663296"}, {"67108864", "100663296"}}, false},
		{"memory and swap", [2]string{"memory", "memory"}, [2]string{"memory.memsw.limit_in_bytes", "memory.swap.max"},
			mem(specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(96 << 20))}), mem(specs.LinuxMemory{Limit: ptr(int64(32 << 20)), Swap: ptr(int64(40 << 20))}),
			[2][2]string{{"100663296", "41943040"}, {"33554432", "8388608"}}, false},
		{"memory reservation", [2]string{"memory", "memory"}, [2]string{"memory.soft_limit_in_bytes", "memory.low"},
			mem(specs.LinuxMemory{Reservation: ptr(int64(16 << 20))}), mem(specs.LinuxMemory{Reservation: ptr(int64(8 << 20))}), [2][2]string{{"16777216", "8388608"}, {"16777216", "8388608"}}, false},
		{"memory swappiness", [2]string{"memory", ""}, [2]string{"memory.swappiness", ""},
			mem(specs.LinuxMemory{Swappiness: ptr(uint64(10))}), mem(specs.LinuxMemory{Swappiness: ptr(uint64(20))}), [2][2]string{{"10", "20"}}, false},
		{"kernel TCP memory", [2]string{"memory", ""}, [2]string{"memory.kmem.tcp.limit_in_bytes", ""},
			mem(specs.LinuxMemory{KernelTCP: ptr(int64(4 << 20))}), mem(specs.LinuxMemory{KernelTCP: ptr(int64(8 << 20))}), [2][2]string{{"4194304", "8388608"}}, false},
		{"OOM killer", [2]string{"memory", ""}, [2]string{"memory.oom_control", ""},
			mem(specs.LinuxMemory{DisableOOMKiller: ptr(true)}), mem(specs.LinuxMemory{DisableOOMKiller: ptr(false)}), [2][2]string{{"oom_kill_disable 1", "oom_kill_disable 0"}}, true},
		{"pids", [2]string{"pids", "pids"}, [2]string{"pids.max", "pids.max"},
			specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(77))}}, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}, [2][2]string{{"77", "max"}, {"77", "max"}}, false},
		{"huge pages", [2]string{"hugetlb", "hugetlb"}, [2]string{"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"},
			specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}}, specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 8 << 20}}},
			[2][2]string{{"4194304", "8388608"}, {"4194304", "8388608"}}, false},
		{"network class", [2]string{"net_cls", ""}, [2]string{"net_cls.classid", ""},
			specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(0x100001))}}, specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(0x100002))}},
			[2][2]string{{"1048577", "1048578"}}, false},
		{"network priority", [2]string{"net_prio", ""}, [2]string{"net_prio.ifpriomap", ""},
			specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 5}}}},
			specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 6}}}}, [2][2]string{{"lo 5", "lo 6"}}, true},
		{"unified", [2]string{"", "memory"}, [2]string{"", "memory.high"},
			specs.LinuxResources{Unified: map[string]string{"memory.high": "33554432"}}, specs.LinuxResources{Unified: map[string]string{"memory.high": "max"}}, [2][2]string{1: {"33554432", "max"}}, false},
	}
	if rdma := rdmaDevice(); rdma != "" {
		list = append(list, limitCase{"RDMA", [2]string{"rdma", "rdma"}, [2]string{"rdma.max", "rdma.max"},
			specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{rdma: {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(100))}}},
			specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{rdma: {HcaHandles: ptr(uint32(4))}}},
			[2][2]string{{rdma + " hca_handle=3 hca_object=100", rdma + " hca_handle=4 hca_object=100"}, {rdma + " hca_handle=3 hca_object=100", rdma + " hca_handle=4 hca_object=100"}}, false})
	}
	if number == "" {
		return list
	}
	for _, k := range []struct {
		v1, v2 string
		set    func(*specs.LinuxBlockIO, []specs.LinuxThrottleDevice)
	}{
		{"read_bps_device", "rbps", func(b *specs.LinuxBlockIO, d []specs.LinuxThrottleDevice) { b.ThrottleReadBpsDevice = d }},
		{"write_bps_device", "wbps", func(b *specs.LinuxBlockIO, d []specs.LinuxThrottleDevice) { b.ThrottleWriteBpsDevice = d }},
		{"read_iops_device", "riops", func(b *specs.LinuxBlockIO, d []specs.LinuxThrottleDevice) { b.ThrottleReadIOPSDevice = d }},
		{"write_iops_device", "wiops", func(b *specs.LinuxBlockIO, d []specs.LinuxThrottleDevice) { b.ThrottleWriteIOPSDevice = d }},
	} {
		var a, b specs.LinuxBlockIO
		k.set(&a, throttleOf(major, minor, 1048576))
		k.set(&b, throttleOf(major, minor, 2097152))
		list = append(list, limitCase{"block " + k.v2, [2]string{"blkio", "io"}, [2]string{"blkio.throttle." + k.v1, "io.max"}, blk(a), blk(b),
			[2][2]string{{number + " 1048576", number + " 2097152"}, {k.v2 + "=1048576", k.v2 + "=2097152"}}, true})
	}
	if bfq {
		list = append(list,
			limitCase{"block weight", [2]string{"blkio", "io"}, [2]string{"blkio.bfq.weight", "io.bfq.weight"},
				blk(specs.LinuxBlockIO{Weight: ptr(uint16(200))}), blk(specs.LinuxBlockIO{Weight: ptr(uint16(300))}), [2][2]string{{"200", "300"}, {"default 200", "default 300"}}, true},
			limitCase{"block weight of a device", [2]string{"blkio", "io"}, [2]string{"blkio.bfq.weight_device", "io.bfq.weight"},
				blk(specs.LinuxBlockIO{WeightDevice: weightOf(major, minor, 200)}), blk(specs.LinuxBlockIO{WeightDevice: weightOf(major, minor, 300)}),
				[2][2]string{{number + " 200", number + " 300"}, {number + " 200", number + " 300"}}, true})
	}
	return list
}

// rdmaDevice is a device with the rdma controller: in the virtual machine one in software.
func rdmaDevice() string {
	all, _ := filepath.Glob("/sys/class/infiniband/*")
	if len(all) == 0 {
		return ""
	}
	return filepath.Base(all[0])
}

// Each limit is created and updated while a process runs; the kernel's file is what counts.
func TestEachLimit(t *testing.T) {
	m := real(t)
	v1, v2 := m, m
	if m.layout == Hybrid {
		v2 = nil // its v2 side has next to no controllers; hybrid's own are tested below
	}
	for side, m := range []*machine{v1, v2} {
		if m == nil || side == 0 && m.layout == V2 || side == 1 && m.layout != V2 {
			continue
		}
		for _, tt := range limitCases() {
			if tt.controller[side] == "" {
				continue
			}
			t.Run(tt.name, func(t *testing.T) {
				i := slices.IndexFunc(m.hierarchies, func(h *hierarchy) bool { return h.has(tt.controller[side]) })
				if i < 0 {
					t.Skipf("this machine has no controller %s", tt.controller[side])
				}
				side, key := side, tt.controller[side]
				if m.hierarchies[i].v2 { // also beside v1 hierarchies
					side, key = 1, ""
				}
				if tt.name == "cpuset CPUs" && !strings.Contains(onlineCPUs(), "-") {
					t.Skip("this machine has one CPU")
				}
				res := tt.made
				g, err := m.create(groupPath(t), &res, Options{})
				if err != nil {
					missing := errors.Is(err, fault.Unavailable)
					if missing {
						t.Skipf("this kernel has no %s: %v", tt.file[side], err)
					}
					t.Fatal(err)
				}
				defer func() {
					must(t, g.Kill(t.Context()))
					must(t, g.Remove(t.Context()))
				}()
				inside(t, g, "sleep 100")
				check := func(when int) {
					t.Helper()
					got, want := content(t, g, key, tt.file[side]), tt.want[side][when]
					if got != want && !(tt.contains && strings.Contains(got, want)) {
						t.Errorf("%s is %q, want %q", tt.file[side], got, want)
					}
				}
				check(0)
				next := tt.next
				must(t, g.Check(&next))
				must(t, g.Update(&next))
				check(1)
			})
		}
	}
}

func onlineCPUs() string {
	data, _ := os.ReadFile("/sys/devices/system/cpu/online")
	return string(data)
}
