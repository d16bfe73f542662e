package ocispec

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fakeHost has one disk and one tty.
type fakeHost struct{}

func (fakeHost) Device(path string) (specs.LinuxDevice, error) {
	mode := os.FileMode(0o660)
	switch path {
	case "/dev/null":
		return specs.LinuxDevice{Path: path, Type: "c", Major: 1, Minor: 3, FileMode: &mode}, nil
	case "/dev/sda":
		return specs.LinuxDevice{Path: path, Type: "b", Major: 8, Minor: 0, FileMode: &mode}, nil
	}
	return specs.LinuxDevice{}, errors.New("not a device node")
}

func (h fakeHost) Devices(string) ([]specs.LinuxDevice, error) {
	disk, err := h.Device("/dev/sda")
	return []specs.LinuxDevice{disk}, err
}

func input() *Input {
	return &Input{
		ID: strings.Repeat("ab", 32), Path: "sh", Args: []string{"-c", "true"},
		Config:      &container.Config{Env: []string{"A=1"}, WorkingDir: "/srv"},
		HostConfig:  &container.HostConfig{MaskedPaths: []string{"/proc/kcore"}, ReadonlyPaths: DefaultReadonlyPaths(), ShmSize: DefaultShmSize, IpcMode: "private", CgroupnsMode: "private", NetworkMode: "bridge"},
		User:        User{UID: 0, GID: 0, Groups: []uint32{0, 10}, Home: "/root"},
		Hostname:    "abababababab",
		CgroupsPath: "/sampan/x",
		Host:        fakeHost{},
	}
}

// golden compares a specification with its file. The seccomp profile belongs to
// another project and the core limit to the machine; both are cut to a mark.
func golden(t *testing.T, name string, s *specs.Spec) {
	t.Helper()
	if s.Linux.Seccomp != nil {
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: s.Linux.Seccomp.DefaultAction}
	}
	for i := range s.Process.Rlimits {
		if s.Process.Rlimits[i].Type == "RLIMIT_CORE" {
			s.Process.Rlimits[i].Hard = 0
		}
	}
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs; run with -update and review the difference. Got:\n%s", path, got)
	}
}

func TestGolden(t *testing.T) {
	tests := map[string]func(*Input){
		"default": func(*Input) {},
		"privileged": func(in *Input) {
			in.HostConfig.Privileged = true
			in.HostConfig.MaskedPaths, in.HostConfig.ReadonlyPaths = nil, nil
			in.HostConfig.CapAdd = []string{"NET_ADMIN"}
		},
		"host-namespaces": func(in *Input) {
			in.HostConfig.NetworkMode, in.HostConfig.PidMode, in.HostConfig.IpcMode = "host", "host", "host"
			in.HostConfig.UTSMode, in.HostConfig.CgroupnsMode = "host", "host"
			in.ShmSource = "/dev/shm"
		},
		"options": func(in *Input) {
			hc := in.HostConfig
			in.Config.Tty = true
			in.Config.Env = []string{"PATH=/bin", "TERM", "HOME=/h", "A=1", "A=2"}
			hc.ConsoleSize = [2]uint{24, 80}
			hc.CapAdd, hc.CapDrop = []string{"sys_time"}, []string{"CAP_MKNOD"}
			hc.SecurityOpt = []string{"no-new-privileges", "seccomp=unconfined"}
			hc.Sysctls = map[string]string{"net.core.somaxconn": "1024", "kernel.shm_rmid_forced": "1"}
			hc.ReadonlyRootfs, hc.OomScoreAdj = true, 500
			hc.Memory, hc.MemorySwap, hc.NanoCPUs, hc.CPUShares, hc.CpusetCpus = 64<<20, 128<<20, 1_500_000_000, 512, "0"
			hc.PidsLimit = new(int64(100))
			hc.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: 1024, Hard: 2048}}
			hc.Devices = []container.DeviceMapping{{PathOnHost: "/dev/null", PathInContainer: "/dev/nil", CgroupPermissions: "r"}}
			hc.DeviceCgroupRules = []string{"c 13:* rw"}
			hc.Annotations = map[string]string{"a": "b"}
			in.Mounts = []Mount{
				{Type: mount.TypeBind, Source: "/data", Destination: "/srv/data/deep", ReadOnly: true, RecursiveReadOnly: true},
				{Type: mount.TypeBind, Source: "/srv", Destination: "/srv", Propagation: mount.PropagationRSlave},
				{Type: mount.TypeTmpfs, Destination: "/dev/shm", Options: []string{"size=1m", "exec"}},
			}
			in.InitPath = "/usr/bin/tini"
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			in := input()
			change(in)
			s, _, err := Build(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if name == "privileged" {
				s.Process.Capabilities = nil // every one of the kernel's
			}
			golden(t, name, s)
		})
	}
}

func TestDefaultProfileClosesSockets(t *testing.T) {
	s, _, err := Build(input(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const afAlg, afVsock = 38, 40
	for _, rule := range s.Linux.Seccomp.Syscalls {
		if !slices.Contains(rule.Names, "socket") || rule.Action != specs.ActAllow {
			continue
		}
		if len(rule.Args) == 0 {
			t.Fatal("socket is allowed for every family")
		}
		for _, a := range rule.Args {
			open := a.Op == specs.OpEqualTo && (a.Value == afAlg || a.Value == afVsock) ||
				a.Op == specs.OpLessThan && a.Value > afAlg || a.Op != specs.OpEqualTo && a.Op != specs.OpLessThan
			if open {
				t.Errorf("socket with argument %d %s %d is allowed", a.Index, a.Op, a.Value)
			}
		}
	}
}

func TestCapabilitySets(t *testing.T) {
	for _, tt := range []struct {
		name      string
		add, drop []string
		has, lack string
		n         int
	}{
		{"default", nil, nil, "CAP_CHOWN", "CAP_SYS_ADMIN", 14},
		{"drop all add one", []string{"chown"}, []string{"ALL"}, "CAP_CHOWN", "CAP_KILL", 1},
		{"drop all", nil, []string{"all"}, "", "CAP_CHOWN", 0},
		{"add twice", []string{"NET_ADMIN", "CAP_NET_ADMIN"}, nil, "CAP_NET_ADMIN", "CAP_SYS_ADMIN", 15},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := effectiveCaps(tt.add, tt.drop, false)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != tt.n || tt.has != "" && !slices.Contains(got, tt.has) || slices.Contains(got, tt.lack) {
				t.Fatalf("got %v", got)
			}
			sets := capabilitySets(got)
			if sets.Inheritable != nil || sets.Ambient != nil {
				t.Fatal("the inheritable and ambient sets must stay empty")
			}
		})
	}
}

// TestPrivilegedSeccomp: a privileged container has no filter but one that it was
// given by name.
func TestPrivilegedSeccomp(t *testing.T) {
	const profile = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chown"],"action":"SCMP_ACT_ERRNO"}]}`
	for option, want := range map[string]bool{"": false, "seccomp=unconfined": false, "seccomp=" + profile: true} {
		in := input()
		in.HostConfig.Privileged = true
		if option != "" {
			in.HostConfig.SecurityOpt = []string{option}
		}
		s, _, err := Build(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Linux.Seccomp != nil; got != want {
			t.Errorf("%q: a filter = %v, want %v", option, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		change func(*container.HostConfig)
		want   string
	}{
		"capability":       {func(h *container.HostConfig) { h.CapAdd = []string{"FLY"} }, `unknown capability: "CAP_FLY"`},
		"sysctl host":      {func(h *container.HostConfig) { h.Sysctls = map[string]string{"vm.swappiness": "1"} }, "not in a separate kernel namespace"},
		"sysctl traversal": {func(h *container.HostConfig) { h.Sysctls = map[string]string{"net/../kernel/core_pattern": "x"} }, "invalid sysctl key"},
		"sysctl dots":      {func(h *container.HostConfig) { h.Sysctls = map[string]string{"net..ipv4": "x"} }, "invalid sysctl key"},
		"sysctl plus":      {func(h *container.HostConfig) { h.Sysctls = map[string]string{"kernel.shm_rmid_forced+x": "1"} }, "invalid sysctl key"},
		"sysctl newline":   {func(h *container.HostConfig) { h.Sysctls = map[string]string{"net.core.somaxconn": "1\n2"} }, "control characters"},
		"sysctl host net": {func(h *container.HostConfig) {
			h.NetworkMode = "host"
			h.Sysctls = map[string]string{"net.core.somaxconn": "1"}
		}, "--network host"},
		"security option": {func(h *container.HostConfig) { h.SecurityOpt = []string{"foo=bar"} }, "invalid --security-opt"},
		"seccomp":         {func(h *container.HostConfig) { h.SecurityOpt = []string{"seccomp={"} }, "seccomp profile is not JSON"},
		"device":          {func(h *container.HostConfig) { h.Devices = []container.DeviceMapping{{PathOnHost: "/dev/nope"}} }, "no such file or directory"},
		"device rule":     {func(h *container.HostConfig) { h.DeviceCgroupRules = []string{"c 1:3 rwx"} }, "invalid device cgroup rule"},
		"device number":   {func(h *container.HostConfig) { h.DeviceCgroupRules = []string{"c 99999999999:3 r"} }, "too large"},
		"ulimit":          {func(h *container.HostConfig) { h.Ulimits = []*units.Ulimit{{Name: "wings"}} }, "invalid ulimit type"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := input()
			tt.change(in.HostConfig)
			_, _, err := Build(in, nil)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want a refusal with %q", err, tt.want)
			}
		})
	}
}

func TestCheckResources(t *testing.T) {
	tests := map[string]struct {
		r    container.Resources
		want string
	}{
		"fine":          {container.Resources{Memory: 6 << 20, MemorySwap: -1, NanoCPUs: 1e9, CpusetCpus: "0-1,3"}, ""},
		"memory":        {container.Resources{Memory: 1}, "Minimum memory limit allowed is 6MB"},
		"swap":          {container.Resources{Memory: 64 << 20, MemorySwap: 32 << 20}, "Minimum memoryswap limit"},
		"cpus":          {container.Resources{NanoCPUs: 3e9}, "range of CPUs is from 0.01 to 2.00"},
		"cpuset bomb":   {container.Resources{CpusetMems: "1-9223372036854775807"}, "Invalid value"},
		"cpuset order":  {container.Resources{CpusetCpus: "3-1"}, "Invalid value"},
		"cpuset text":   {container.Resources{CpusetCpus: "one"}, "Invalid value"},
		"blkio weight":  {container.Resources{BlkioWeight: 5}, "Range of blkio weight"},
		"nil throttle":  {container.Resources{BlkioDeviceReadBps: []*blkiodev.ThrottleDevice{nil}}, "block I/O limit"},
		"swappiness":    {container.Resources{MemorySwappiness: new(int64(101))}, "swappiness range"},
		"windows":       {container.Resources{CPUCount: 1}, "Windows"},
		"period":        {container.Resources{CPUPeriod: 1}, "CPU cfs period"},
		"reservation":   {container.Resources{Memory: 8 << 20, MemoryReservation: 9 << 20}, "reservation"},
		"shares":        {container.Resources{CPUShares: 1 << 30}, "CPU shares"},
		"quota, period": {container.Resources{NanoCPUs: 1e9, CPUQuota: 5000}, "Conflicting options"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := CheckResources(&tt.r, 2)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCheckAvailable(t *testing.T) {
	for list, ok := range map[string]bool{"": true, "0": true, "0-1": true, "4": true, "0,4": true, "2": false, "0-4": false, "99": false} {
		if err := CheckAvailable("CPUs", list, "0-1,4"); (err == nil) != ok {
			t.Errorf("%q: %v", list, err)
		}
	}
	if err := CheckAvailable("CPUs", "7", ""); err != nil {
		t.Error(err)
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=1", "HOSTNAME", "A=2", "B", "PATH=/x"}, "h", "/root", true)
	want := []string{"PATH=/x", "TERM=xterm", "A=2", "HOME=/root"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	// An empty HOME is none, as with runc.
	if got := environment([]string{"HOME="}, "h", "/home/app", false); !slices.Contains(got, "HOME=/home/app") || slices.Contains(got, "HOME=") {
		t.Errorf("got %q", got)
	}
}

func TestExecTakesTheContainersLimits(t *testing.T) {
	p, err := Exec(ExecInput{
		Request: &container.ExecCreateRequest{Cmd: []string{"id"}, Env: []string{"A=3"}, Privileged: false},
		User:    User{UID: 5, GID: 6, Groups: []uint32{6}, Home: "/"}, Hostname: "h",
		Config:     &container.Config{Env: []string{"A=1"}, WorkingDir: "/w"},
		HostConfig: &container.HostConfig{CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges=true"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.Cwd != "/w" || !p.NoNewPrivileges || len(p.Capabilities.Bounding) != 0 || !slices.Contains(p.Env, "A=3") || p.User.UID != 5 {
		t.Fatalf("got %+v", p)
	}
}
