package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

var everyController = []string{"cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event", "net_prio", "hugetlb", "pids", "rdma"}

func TestParseMounts(t *testing.T) {
	for _, tt := range []struct {
		name, table string
		layout      Layout
		want        []string
	}{
		{"systemd v1", `30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,release_agent=/lib/systemd/agent,name=systemd
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/net_cls,net_prio rw - cgroup cgroup rw,net_cls,net_prio
34 30 0:30 / /weird\040place rw - cgroup cgroup rw,memory
`, V1, []string{"/sys/fs/cgroup/systemd name=systemd", "/sys/fs/cgroup/cpu,cpuacct cpu,cpuacct", "/sys/fs/cgroup/net_cls,net_prio net_cls,net_prio", "/weird place memory"}},
		{"hybrid", `31 30 0:27 / /c/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /c/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /c/rdma rw - cgroup cgroup rw,rdma
`, Hybrid, []string{"/c/memory memory", "/c/rdma rdma", "/c/unified v2"}},
		{"v2 elsewhere", "31 30 0:27 / /mnt/cg rw - cgroup2 none rw\n", V2, []string{"/mnt/cg v2"}},
		{"systemd's name beside v2", "31 30 0:27 / /a rw - cgroup2 none rw\n32 30 0:28 / /b rw - cgroup cgroup rw,xattr,name=systemd\n", V1, []string{"/b name=systemd"}},
		{"mounted twice, the whole wins", "31 30 0:27 /docker/x /a rw - cgroup cgroup rw,pids\n32 30 0:27 / /b rw - cgroup cgroup rw,pids\n", V1, []string{"/b pids"}},
		{"none", "31 30 0:27 / /a rw - tmpfs cgroup rw,pids\ngarbage\n - \n", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := parseMounts(tt.table, everyController)
			var got []string
			for _, h := range m.hierarchies {
				what := strings.Join(h.controllers, ",")
				if h.v2 {
					what = "v2"
				}
				got = append(got, h.mount+" "+what)
			}
			if m.layout != tt.layout || !slices.Equal(got, tt.want) {
				t.Errorf("%v %q, want %v %q", m.layout, got, tt.layout, tt.want)
			}
		})
	}
}

// everyLimit sets everything there is.
func everyLimit() *specs.LinuxResources {
	dev := func(major, minor int64, rate uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{throttleDevice(major, minor, rate)}
	}
	w := specs.LinuxWeightDevice{Weight: ptr(uint16(500))}
	w.Major, w.Minor = 8, 16
	return &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(96 << 20)), Reservation: ptr(int64(32 << 20))},
		CPU: &specs.LinuxCPU{Shares: ptr(uint64(1024)), Quota: ptr(int64(50000)), Period: ptr(uint64(100000)), Burst: ptr(uint64(1000)),
			Cpus: "0-1", Mems: "0"},
		Pids: &specs.LinuxPids{Limit: ptr(int64(100))},
		BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10)), WeightDevice: []specs.LinuxWeightDevice{w},
			ThrottleReadBpsDevice: dev(8, 0, 1000), ThrottleWriteBpsDevice: dev(8, 0, 2000), ThrottleReadIOPSDevice: dev(8, 0, 30), ThrottleWriteIOPSDevice: dev(8, 0, 0)},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
		Rdma:           map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(10000))}},
	}
}

func lines(list []setting) []string {
	var out []string
	for _, s := range list {
		line := s.file + " = " + s.value
		if s.elseFile != "" {
			line += " | " + s.elseFile + " = " + s.elseValue
		}
		out = append(out, line)
	}
	return out
}

func TestSettings(t *testing.T) {
	res := everyLimit()
	v2, err := v2Settings(res, drop)
	must(t, err)
	want := []string{
		"cpuset.mems = 0", "cpuset.cpus = 0-1", "cpu.weight = 100", "cpu.max = 50000 100000", "cpu.max.burst = 1000",
		"memory.swap.max = 33554432", "memory.max = 67108864", "memory.low = 33554432", "pids.max = 100",
		"io.bfq.weight = 10 | io.weight = 1", "io.bfq.weight = 8:16 500 | io.weight = 8:16 4950",
		"io.max = 8:0 rbps=1000", "io.max = 8:0 wbps=2000", "io.max = 8:0 riops=30", "io.max = 8:0 wiops=max",
		"hugetlb.2MB.max = 4194304", "hugetlb.2MB.rsvd.max = 4194304", "rdma.max = mlx5_1 hca_handle=3 hca_object=10000",
	}
	if got := lines(v2); !slices.Equal(got, want) {
		t.Errorf("v2:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	res.CPU.RealtimePeriod, res.CPU.RealtimeRuntime = ptr(uint64(1000)), ptr(int64(500))
	res.Memory.Swappiness, res.Memory.DisableOOMKiller = ptr(uint64(7)), ptr(true)
	res.Network = &specs.LinuxNetwork{ClassID: ptr(uint32(0x100001)), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 5}}}
	v1, err := v1Settings(res, true, drop)
	must(t, err)
	want = []string{
		"cpuset.mems = 0", "cpuset.cpus = 0-1", "cpu.shares = 1024", "cpu.cfs_period_us = 100000", "cpu.cfs_quota_us = 50000", "cpu.cfs_burst_us = 1000",
		"cpu.rt_period_us = 1000", "cpu.rt_runtime_us = 500",
		"memory.limit_in_bytes = 67108864", "memory.memsw.limit_in_bytes = 100663296", "memory.soft_limit_in_bytes = 33554432", "memory.swappiness = 7", "memory.oom_control = 1",
		"pids.max = 100", "blkio.weight = 10 | blkio.bfq.weight = 10", "blkio.weight_device = 8:16 500 | blkio.bfq.weight_device = 8:16 500",
		"blkio.throttle.read_bps_device = 8:0 1000", "blkio.throttle.write_bps_device = 8:0 2000", "blkio.throttle.read_iops_device = 8:0 30", "blkio.throttle.write_iops_device = 8:0 0",
		"hugetlb.2MB.limit_in_bytes = 4194304", "hugetlb.2MB.rsvd.limit_in_bytes = 4194304",
		"net_cls.classid = 1048577", "net_prio.ifpriomap = eth0 5", "rdma.max = mlx5_1 hca_handle=3 hca_object=10000",
	}
	if got := lines(v1); !slices.Equal(got, want) {
		t.Errorf("v1:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := v2Settings(res, drop); !errors.Is(err, fault.Unavailable) {
		t.Errorf("network classes on v2: %v", err)
	}
}

func TestWeightOfShares(t *testing.T) {
	last := uint64(0)
	for _, tt := range [][2]uint64{{0, 1}, {2, 1}, {1024, 100}, {262144, 10000}, {1 << 40, 10000}} {
		if got := CPUWeight(tt[0]); got != tt[1] {
			t.Errorf("%d shares: weight %d, want %d", tt[0], got, tt[1])
		}
	}
	for s := uint64(2); s <= 262144; s *= 2 {
		w := CPUWeight(s)
		if w < last || w < 1 || w > 10000 {
			t.Errorf("%d shares: weight %d after %d", s, w, last)
		}
		last = w
	}
}

// fakeV2 is a pure v2 tree of plain files, for controllers that this machine has on
// the v1 side.
func fakeV2(t *testing.T, controllers string) (*machine, string) {
	t.Helper()
	dir := t.TempDir()
	for _, g := range []string{"", "sampan"} {
		must(t, os.MkdirAll(filepath.Join(dir, g), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, g, "cgroup.controllers"), []byte(controllers+"\n"), 0o644))
		must(t, os.WriteFile(filepath.Join(dir, g, "cgroup.subtree_control"), nil, 0o644))
	}
	h := &hierarchy{v2: true, mount: dir, root: "/", controllers: strings.Fields(controllers)}
	return &machine{layout: V2, hierarchies: []*hierarchy{h}}, dir
}

func TestV2Files(t *testing.T) {
	m, dir := fakeV2(t, "cpuset cpu io memory hugetlb pids rdma")
	h := m.hierarchies[0]
	if h.prepared("/sampan") {
		t.Error("a group that hands nothing down counts as prepared")
	}
	must(t, h.delegate("/sampan"))
	for _, g := range []string{"", "sampan"} {
		data, err := os.ReadFile(filepath.Join(dir, g, "cgroup.subtree_control"))
		must(t, err)
		if string(data) != "+cpuset +cpu +io +memory +hugetlb +pids +rdma" {
			t.Errorf("%s/cgroup.subtree_control got %q", g, data)
		}
	}
	g := &Group{path: "/sampan/x", layout: V2}
	leaf := filepath.Join(dir, "sampan/x")
	must(t, os.Mkdir(leaf, 0o755))
	for _, f := range []string{"memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.max.burst", "cpu.weight", "cpuset.cpus", "cpuset.mems", "pids.max",
		"io.max", "io.weight", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "rdma.max", "memory.high"} {
		must(t, os.WriteFile(filepath.Join(leaf, f), nil, 0o644))
	}
	g.parts = []part{{h: h, rel: "/sampan/x"}}
	res := everyLimit()
	res.BlockIO.WeightDevice = nil
	res.BlockIO.ThrottleWriteBpsDevice, res.BlockIO.ThrottleReadIOPSDevice, res.BlockIO.ThrottleWriteIOPSDevice = nil, nil, nil
	res.Unified = map[string]string{"memory.high": "50000000"}
	must(t, g.apply(res, nil, true, drop))
	for file, want := range map[string]string{"memory.max": "67108864", "memory.swap.max": "33554432", "cpu.max": "50000 100000", "io.weight": "1",
		"io.max": "8:0 rbps=1000", "pids.max": "100", "memory.high": "50000000", "hugetlb.2MB.rsvd.max": "4194304"} {
		if data, err := os.ReadFile(filepath.Join(leaf, file)); err != nil || string(data) != want {
			t.Errorf("%s got %q, %v; want %q", file, data, err, want)
		}
	}
	must(t, os.Remove(filepath.Join(leaf, "memory.swap.max")))
	if err := g.apply(everyLimit(), nil, true, drop); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "swap accounting") {
		t.Errorf("without swap accounting: %v", err)
	}
}

func TestDeviceRules(t *testing.T) {
	rule := func(allow bool, kind string, major, minor int64, acc string) specs.LinuxDeviceCgroup {
		r := specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Access: acc}
		if major >= 0 {
			r.Major = &major
		}
		if minor >= 0 {
			r.Minor = &minor
		}
		return r
	}
	all := []specs.LinuxDeviceCgroup{{Allow: true}}
	for _, tt := range []struct {
		name  string
		rules []specs.LinuxDeviceCgroup
		want  string // writes for a group that allows everything
		err   string
	}{
		{"everything", all, "", ""},
		{"partly everything is not everything", []specs.LinuxDeviceCgroup{rule(true, "a", 10, -1, "r")}, "+b 10:* r", ""},
		{"one more", []specs.LinuxDeviceCgroup{rule(true, "c", 10, 229, "rw")}, "+c 10:229 rw", ""},
		{"taken back", []specs.LinuxDeviceCgroup{rule(true, "c", 10, 229, "rw"), rule(false, "c", 10, 229, "w")}, "+c 10:229 r", ""},
		{"all but one", append(all, rule(false, "b", 8, 0, "rw")), "-b 8:0 rw", ""},
		{"hole in a range", []specs.LinuxDeviceCgroup{rule(true, "c", 10, -1, "rw"), rule(false, "c", 10, 229, "w")}, "", "cannot take back"},
		{"number", []specs.LinuxDeviceCgroup{rule(true, "c", 1<<40, 0, "r")}, "", "not between"},
		{"access", []specs.LinuxDeviceCgroup{rule(true, "c", 1, 1, "rx")}, "", "access"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := deviceRules(tt.rules)
			if tt.err != "" {
				if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			must(t, err)
			var got []string
			for _, w := range set.v1Writes(&deviceSet{allow: true}) {
				sign := "-"
				if w.file == "devices.allow" {
					sign = "+"
				}
				got = append(got, sign+w.value)
			}
			if tt.want == "" && len(got) > 0 || tt.want != "" && !slices.Contains(got, tt.want) {
				t.Errorf("writes %q, want %q among them", got, tt.want)
			}
			if !set.allow && got[0] != "-a" {
				t.Errorf("the first write is %q", got[0])
			}
		})
	}
}

func TestDeviceList(t *testing.T) {
	set, err := deviceRules(nil)
	must(t, err)
	var text strings.Builder
	for _, d := range set.inOrder() {
		fmt.Fprintf(&text, "%v %v\n", d, set.exceptions[d])
	}
	again, err := parseDeviceList(text.String())
	must(t, err)
	if w := set.v1Writes(again); len(w) > 0 {
		t.Errorf("a group that has the rules already is written to: %v", w)
	}
	for _, bad := range []string{"x", "c 1:x r\n", "ab 1:1 r\n"} {
		if _, err := parseDeviceList(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// runDevice interprets the device program on one request.
func runDevice(t *testing.T, prog []insn, kind, acc, major, minor uint32) bool {
	t.Helper()
	ctx := map[int16]uint32{offAccess: acc<<16 | kind, offMajor: major, offMinor: minor}
	var reg [11]uint64
	for pc, steps := 0, 0; ; pc, steps = pc+1, steps+1 {
		if pc >= len(prog) || steps > len(prog) {
			t.Fatal("the program runs away")
		}
		i := prog[pc]
		dst, src := i.regs&15, i.regs>>4
		jump := false
		switch i.op {
		case opLoadW:
			reg[dst] = uint64(ctx[i.off])
		case opMovReg:
			reg[dst] = uint64(uint32(reg[src]))
		case opMov32:
			reg[dst] = uint64(uint32(i.imm))
		case opAnd32:
			reg[dst] = uint64(uint32(reg[dst]) & uint32(i.imm))
		case opRsh32:
			reg[dst] = uint64(uint32(reg[dst]) >> uint32(i.imm))
		case opJne:
			jump = reg[dst] != uint64(int64(i.imm))
		case opJeq:
			jump = reg[dst] == uint64(int64(i.imm))
		case opJneReg:
			jump = reg[dst] != reg[src]
		case opExit:
			return reg[regResult] == 1
		default:
			t.Fatalf("unknown instruction %#x", i.op)
		}
		if jump {
			pc += int(i.off)
		}
	}
}

// The program and the set must agree on every request.
func TestDeviceProgram(t *testing.T) {
	one := ptr(int64(1))
	for name, rules := range map[string][]specs.LinuxDeviceCgroup{
		"default":     nil,
		"all":         {{Allow: true}},
		"all but":     {{Allow: true}, {Type: "c", Major: one, Access: "w"}, {Type: "b", Major: ptr(int64(8)), Minor: one, Access: "rm"}},
		"few":         {{Allow: true, Type: "b", Major: ptr(int64(8)), Access: "r"}, {Allow: true, Type: "c", Minor: one, Access: "rw"}},
		"none for b":  {{Allow: true, Type: "a", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "rw"}},
		"write alone": {{Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(5)), Access: "w"}},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := deviceRules(rules)
			must(t, err)
			prog := set.program()
			for _, kind := range []byte{'b', 'c'} {
				for acc := access(1); acc <= mayAll; acc++ {
					for _, n := range [][2]int64{{1, 1}, {1, 3}, {1, 11}, {5, 1}, {8, 0}, {8, 1}, {10, 229}, {10, 5}, {136, 9}, {4095, 1048575}} {
						k := uint32(bpfChar)
						if kind == 'b' {
							k = bpfBlock
						}
						want := allows(set, device{kind, n[0], n[1]}, acc)
						if got := runDevice(t, prog, k, uint32(acc), uint32(n[0]), uint32(n[1])); got != want {
							t.Errorf("%c %d:%d %v: the program says %v, the rules %v", kind, n[0], n[1], acc, got, want)
						}
					}
				}
			}
		})
	}
}

func allows(s *deviceSet, d device, acc access) bool {
	for e, has := range s.exceptions {
		if e.covers(d) && (!s.allow && acc&^has == 0 || s.allow && acc&has != 0) {
			return !s.allow
		}
	}
	return s.allow
}

func drop(string) {}
