package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

func ptr[T any](v T) *T { return &v }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// real returns this machine, and skips where groups cannot be made.
func real(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making control groups needs root")
	}
	m, err := discover()
	if err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	return m
}

// v2Real returns the machine's v2 mount as if it were a pure v2 machine.
func v2Real(t *testing.T) *machine {
	t.Helper()
	for _, h := range real(t).hierarchies {
		if h.v2 {
			return &machine{layout: V2, hierarchies: []*hierarchy{h}}
		}
	}
	t.Skip("no cgroup v2 is mounted here")
	return nil
}

// sides are the machine as it is and, where v2 is mounted, that alone.
func sides(t *testing.T) map[string]*machine {
	t.Helper()
	m := real(t)
	all := map[string]*machine{m.layout.String(): m}
	for _, h := range m.hierarchies {
		if h.v2 {
			all["v2"] = &machine{layout: V2, hierarchies: []*hierarchy{h}}
		}
	}
	return all
}

func groupPath(t *testing.T) string {
	return fmt.Sprintf("/sampan/test-%d-%s", os.Getpid(), strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()))
}

// create makes a group that is gone after the test.
func create(t *testing.T, m *machine, res *specs.LinuxResources) *Group {
	t.Helper()
	g, err := m.create(groupPath(t), res, Options{})
	must(t, err)
	t.Cleanup(func() {
		if err := g.Kill(context.Background()); err != nil {
			t.Error(err)
		}
		if err := g.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		for c, dir := range g.Paths() {
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left behind in %s: %v", dir, c, err)
			}
		}
	})
	return g
}

// inside starts a command in the group: sh waits for a line before it goes on.
func inside(t *testing.T, g *Group, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "read go; "+script)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for _, dir := range g.Paths() {
		must(t, os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0))
	}
	_, err = stdin.Write([]byte("go\n"))
	must(t, err)
	return cmd
}

func content(t *testing.T, g *Group, controller, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.Paths()[controller], file))
	must(t, err)
	return strings.TrimSpace(string(data))
}

func TestLimitsReachTheKernel(t *testing.T) {
	m := real(t)
	if m.layout == V2 {
		t.Skip("this machine has cgroup v2 only")
	}
	g := create(t, m, &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(96 << 20)), Reservation: ptr(int64(32 << 20)),
			Swappiness: ptr(uint64(10)), DisableOOMKiller: ptr(true)},
		CPU:  &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(20000)), Period: ptr(uint64(50000)), Cpus: "0", Mems: "0"},
		Pids: &specs.LinuxPids{Limit: ptr(int64(77))},
	})
	for _, tt := range []struct{ controller, file, want string }{
		{"memory", "memory.limit_in_bytes", "67108864"},
		{"memory", "memory.memsw.limit_in_bytes", "100663296"},
		{"memory", "memory.soft_limit_in_bytes", "33554432"},
		{"memory", "memory.swappiness", "10"},
		{"cpu", "cpu.shares", "512"},
		{"cpu", "cpu.cfs_quota_us", "20000"},
		{"cpu", "cpu.cfs_period_us", "50000"},
		{"cpuset", "cpuset.cpus", "0"},
		{"pids", "pids.max", "77"},
	} {
		if got := content(t, g, tt.controller, tt.file); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.file, got, tt.want)
		}
	}
	if got := content(t, g, "memory", "memory.oom_control"); !strings.Contains(got, "oom_kill_disable 1") {
		t.Errorf("memory.oom_control is %q", got)
	}

	// Both up, then both down: neither order of the two files does for both.
	for _, l := range []int64{256 << 20, 16 << 20} {
		must(t, g.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(l), Swap: ptr(l + 1<<20)}}))
		if got := content(t, g, "memory", "memory.memsw.limit_in_bytes"); got != strconv.FormatInt(l+1<<20, 10) {
			t.Errorf("after the update memory.memsw.limit_in_bytes is %s", got)
		}
	}
	must(t, g.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}}))
	if got := content(t, g, "memory", "memory.memsw.limit_in_bytes"); len(got) < 19 {
		t.Errorf("after lifting the limit memory.memsw.limit_in_bytes is %s", got)
	}
	if got := content(t, g, "pids", "pids.max"); got != "77" {
		t.Errorf("an update of memory changed pids.max to %s", got)
	}
}

func TestEveryHierarchyIsJoined(t *testing.T) {
	m := real(t)
	g := create(t, m, nil)
	table, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	paths := g.Paths()
	for line := range strings.Lines(string(table)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for c := range strings.SplitSeq(f[1], ",") {
			if c != "" && paths[c] == "" {
				t.Errorf("no group for %s", c)
			}
		}
	}
	files, err := g.TaskFiles()
	must(t, err)
	for _, f := range files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s is not close-on-exec", f.Name())
		}
		f.Close()
	}
	if m.layout != V2 && len(files) == 0 {
		t.Error("no tasks files")
	}
	loaded, err := Load(g.Path())
	must(t, err)
	defer loaded.Close()
	if fmt.Sprint(loaded.Paths()) != fmt.Sprint(paths) {
		t.Errorf("Load found %v, Create made %v", loaded.Paths(), paths)
	}
}

func TestRefusals(t *testing.T) {
	m := real(t)
	if m.layout == V2 {
		t.Skip("the texts are those of cgroup v1")
	}
	tests := []struct {
		name  string
		res   specs.LinuxResources
		class error
		text  string
	}{
		{"one byte", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1))}}, fault.Invalid, "memory limit of 1 byte cannot be applied"},
		{"swap below memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(32 << 20))}}, fault.Invalid, "memory and swap limit of 32 MiB is less than"},
		{"cpus", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4000"}}, fault.Invalid, "cpuset.cpus"},
		{"mems", specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: "1-9223372036854775807"}}, fault.Invalid, `cpuset memory nodes "1-9223372036854775807" cannot be applied`},
		{"quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(1))}}, fault.Invalid, "cpu quota of 1 µs cannot be applied"},
		{"block device", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{throttleDevice(240, 77, 1)}}}, fault.Invalid, "240:77"},
		{"huge page", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../x", Limit: 1}}}, fault.Invalid, "huge page size"},
		{"device type", specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "x"}}}, fault.Invalid, "type"},
		{"unified", specs.LinuxResources{Unified: map[string]string{"cgroup.procs": "1"}}, fault.Invalid, "not a limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := m.create(groupPath(t), &tt.res, Options{})
			if err == nil {
				g.Remove(context.Background())
				t.Fatal("no error")
			}
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q", err)
			}
			for _, h := range m.hierarchies {
				if _, err := os.Stat(h.mount + groupPath(t)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left behind: %v", h.mount+groupPath(t), err)
				}
			}
		})
	}
	for _, path := range []string{"", "/", ".", "/a/../b", "../x", "/a\nb", "/a\x00b", strings.Repeat("a/", 3000)} {
		if _, err := m.create(path, nil, Options{}); !errors.Is(err, fault.Invalid) {
			t.Errorf("path %.20q: %v", path, err)
		}
	}
	if _, err := Load("/sampan/there-is-no-such-group"); !errors.Is(err, fault.NotFound) {
		t.Errorf("Load of a missing group: %v", err)
	}
}

func throttleDevice(major, minor int64, rate uint64) specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major, d.Minor = major, minor
	return d
}

func TestPopulatedGroupIsRefused(t *testing.T) {
	m := real(t)
	g := create(t, m, nil)
	again, err := m.create(g.Path(), nil, Options{})
	must(t, err) // an empty one is taken over
	again.Close()
	inside(t, g, "exec sleep 100")
	if _, err := m.create(g.Path(), nil, Options{}); !errors.Is(err, fault.Conflict) {
		t.Fatalf("got %v", err)
	}
	for _, dir := range g.Paths() {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the refused create removed the group: %v", err)
		}
	}
}

func TestRelativePath(t *testing.T) {
	m := real(t)
	name := fmt.Sprintf("sampan-test-%d", os.Getpid())
	g, err := m.create(name, nil, Options{})
	must(t, err)
	defer func() { must(t, g.Remove(context.Background())) }()
	table, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	for i := range g.parts {
		p := &g.parts[i]
		own := ownGroup(string(table), p.h)
		if p.h.v2 {
			own = filepath.Dir(own)
		}
		if want := filepath.Join("/", own, name); p.rel != want {
			t.Errorf("%v: %s, want %s", p.h.controllers, p.rel, want)
		}
	}
}

func TestKill(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"nothing", "exit 0"},
		{"one", "exec sleep 100"},
		{"many", "trap '' TERM HUP; for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; wait"},
		{"session", "setsid sh -c 'setsid sleep 100 & exec sleep 100'"},
		// Each process lives for a moment and has made another one before.
		{"forks without end", "f() { sh -c 'exec sh -c \"$0\" \"$0\"' \"$1\" & }; S='sh -c \"$0\" \"$0\" & :'; for i in 1 2 3 4 5 6; do sh -c \"$S\" \"$S\" & done; wait"},
	} {
		for _, side := range []string{"v1", "v2", "v2 before cgroup.kill,"} {
			t.Run(side+" "+tt.name, func(t *testing.T) {
				m := real(t)
				if side != "v1" {
					m = v2Real(t)
				}
				g := create(t, m, &specs.LinuxResources{})
				g.old = side != "v2"
				if g.old && side != "v1" && strings.HasPrefix(tt.name, "forks") && g.with("pids") == nil {
					t.Skip("the v2 side of this machine has no pids controller, by which forks are stopped")
				}
				cmd := inside(t, g, tt.script)
				for range 100 {
					if pids, err := g.Procs(); err != nil || len(pids) > 3 {
						break
					}
					time.Sleep(time.Millisecond)
				}
				ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
				defer cancel()
				must(t, g.Kill(ctx))
				if pids, err := g.Procs(); err != nil || len(pids) > 0 {
					t.Errorf("left: %v, %v", pids, err)
				}
				cmd.Wait()
			})
		}
	}
}

// Processes that fork while the group is frozen are frozen too.
func TestFreezeForks(t *testing.T) {
	for name, m := range sides(t) {
		t.Run(name, func(t *testing.T) {
			g := create(t, m, nil)
			inside(t, g, "S='sh -c \"$0\" \"$0\" & :'; for i in 1 2 3 4; do sh -c \"$S\" \"$S\" & done; wait")
			for range 5 {
				must(t, g.Freeze(context.Background()))
				before, err := g.Procs()
				must(t, err)
				time.Sleep(30 * time.Millisecond)
				after, err := g.Procs()
				must(t, err)
				if !slices.Equal(before, after) {
					t.Errorf("the frozen group had %v and has %v", before, after)
				}
				must(t, g.Thaw(context.Background()))
				time.Sleep(time.Millisecond)
			}
			must(t, g.Freeze(context.Background()))
			must(t, g.Kill(context.Background()))
		})
	}
}

// A group that exists and is frozen would keep the container from running.
func TestFrozenGroupIsRefused(t *testing.T) {
	for name, m := range sides(t) {
		t.Run(name, func(t *testing.T) {
			g := create(t, m, nil)
			must(t, g.Freeze(context.Background()))
			if _, err := m.create(groupPath(t), nil, Options{}); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "unexpectedly frozen") {
				t.Errorf("got %v", err)
			}
			must(t, g.Thaw(context.Background()))
			again, err := m.create(groupPath(t), nil, Options{})
			must(t, err)
			must(t, again.Close())
		})
	}
}

func TestKillFrozen(t *testing.T) {
	for name, m := range sides(t) {
		t.Run(name, func(t *testing.T) {
			g := create(t, m, nil)
			cmd := inside(t, g, "while :; do :; done")
			must(t, g.Freeze(context.Background()))
			if frozen, err := g.Frozen(); err != nil || !frozen {
				t.Errorf("frozen %v, %v", frozen, err)
			}
			stops := func() bool {
				before := cpuTicks(t, cmd.Process.Pid)
				time.Sleep(60 * time.Millisecond)
				return cpuTicks(t, cmd.Process.Pid) == before
			}
			if !stops() {
				t.Error("the frozen process still runs")
			}
			must(t, g.Thaw(context.Background()))
			moved := false
			for range 100 {
				if moved = !stops(); moved {
					break
				}
			}
			if !moved {
				t.Error("the thawed process does not run")
			}
			must(t, g.Freeze(context.Background()))
			must(t, g.Kill(context.Background()))
			if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
				t.Errorf("ended with %v", cmd.ProcessState)
			}
		})
	}
}

func cpuTicks(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')'):]))
	return f[12] + " " + f[13]
}

func TestRemoveWithGroupsBelow(t *testing.T) {
	for name, m := range sides(t) {
		t.Run(name, func(t *testing.T) {
			g := create(t, m, nil)
			for _, dir := range g.Paths() {
				must(t, os.MkdirAll(dir+"/a/b/c", 0o755))
				must(t, os.MkdirAll(dir+"/a/d", 0o755))
			}
			deep := g.parts[len(g.parts)-1].dir() + "/a/b/c"
			cmd := exec.Command("/bin/sleep", "100")
			must(t, cmd.Start())
			defer func() { cmd.Process.Kill(); cmd.Wait() }()
			must(t, os.WriteFile(deep+"/cgroup.procs", []byte(strconv.Itoa(cmd.Process.Pid)), 0))
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond) // enough to reach the process below
			err := g.Remove(ctx)
			cancel()
			if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
				t.Errorf("Remove with a process below: %v", err)
			}
			must(t, g.Kill(context.Background()))
			must(t, g.Remove(context.Background()))
			must(t, g.Remove(context.Background())) // gone already
		})
	}
}

// Groups come and go at once under the shared parent, which goes with the last.
func TestParentIsShared(t *testing.T) {
	m := real(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 40 {
				g, err := m.create(fmt.Sprintf("/sampan/test-%d-%d-%d", os.Getpid(), i, n), nil, Options{})
				if err == nil {
					err = g.Remove(context.Background())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, h := range m.hierarchies {
		list, err := os.ReadDir(h.mount + ownParent)
		if err != nil {
			continue
		}
		groups := 0
		for _, e := range list {
			if e.IsDir() {
				groups++
			}
		}
		if groups == 0 {
			// Another user of /sampan may just be between its two steps.
			time.Sleep(200 * time.Millisecond)
			if unix.Rmdir(h.mount+ownParent) == nil {
				t.Errorf("%s%s is left behind empty", h.mount, ownParent)
			}
		}
	}
}

func TestOOMKilled(t *testing.T) {
	m := real(t)
	g := create(t, m, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(8 << 20)), Swap: ptr(int64(8 << 20))}})
	if g.with("memory") == nil {
		t.Skip("no memory controller here")
	}
	if killed, err := g.OOMKilled(); err != nil || killed {
		t.Fatalf("before: %v, %v", killed, err)
	}
	cmd := inside(t, g, "exec tail /dev/zero")
	cmd.Wait()
	if killed, err := g.OOMKilled(); err != nil || !killed {
		t.Errorf("after %v: %v, %v", cmd.ProcessState, killed, err)
	}
}

func TestDevicesReachTheKernel(t *testing.T) {
	for name, m := range sides(t) {
		t.Run(name, func(t *testing.T) {
			g := create(t, m, &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
				{Allow: false, Access: "rwm"},
				{Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "r"},
			}})
			dir := t.TempDir()
			for file, dev := range map[string]uint64{"loop": unix.Mkdev(10, 237), "kmsg": unix.Mkdev(1, 11), "null": unix.Mkdev(1, 3)} {
				must(t, unix.Mknod(dir+"/"+file, unix.S_IFCHR|0o600, int(dev)))
			}
			opens := func(file string) error {
				cmd := inside(t, g, fmt.Sprintf("exec 9<%s/%s", dir, file))
				return cmd.Wait()
			}
			check := func(when string, want map[string]bool) {
				t.Helper()
				for file, ok := range want {
					if err := opens(file); (err == nil) != ok {
						t.Errorf("%s: opening %s: %v, want success %v", when, file, err, ok)
					}
				}
			}
			check("default", map[string]bool{"loop": false, "kmsg": false, "null": true})
			must(t, g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{
				{Allow: false}, {Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(11)), Access: "r"}}}))
			check("with kmsg", map[string]bool{"loop": false, "kmsg": true, "null": true})
			must(t, g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false}}}))
			check("without kmsg", map[string]bool{"loop": false, "kmsg": false, "null": true})
			must(t, g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true}}}))
			check("privileged", map[string]bool{"loop": true, "kmsg": true, "null": true})
			must(t, g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true},
				{Allow: false, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(11)), Access: "rwm"}}}))
			check("all but kmsg", map[string]bool{"loop": true, "kmsg": false, "null": true})
		})
	}
}

func BenchmarkCreateRemove(b *testing.B) {
	m, err := discover()
	if err != nil || os.Geteuid() != 0 {
		b.Skip("needs root and control groups")
	}
	keep, err := m.create(fmt.Sprintf("/sampan/bench-%d", os.Getpid()), nil, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer keep.Remove(context.Background())
	res := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))}, Pids: &specs.LinuxPids{Limit: ptr(int64(100))}}
	path := fmt.Sprintf("/sampan/bench-%d-x", os.Getpid())
	b.Run("create", func(b *testing.B) {
		for b.Loop() {
			g, err := Create(path, res, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := g.Remove(context.Background()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("both", func(b *testing.B) {
		for b.Loop() {
			g, err := Create(path, res, Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := g.Remove(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
