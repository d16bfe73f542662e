package seccomp

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

var update = flag.Bool("update", false, "write the golden files")

func ptr[T any](v T) *T { return &v }

// call is one system call as the kernel shows it to a filter.
type call struct {
	audit, nr uint32
	args      [6]uint64
}

// vm runs a program on calls. The interpreter is x/net/bpf's, so that the compiler
// is not tested against its own idea of BPF. It loads big-endian words, hence
// the order of bytes here; what the kernel does with ours is tested by TestKernel.
type vm struct{ *bpf.VM }

func load(t testing.TB, prog []unix.SockFilter) vm {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(prog))
	for i, f := range prog {
		raw[i] = bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	insns, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program holds an unknown instruction")
	}
	m, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatal(err)
	}
	return vm{m}
}

func (m vm) run(t testing.TB, c call) uint32 {
	t.Helper()
	var data [64]byte
	binary.BigEndian.PutUint32(data[0:], c.nr)
	binary.BigEndian.PutUint32(data[4:], c.audit)
	for i, a := range c.args {
		binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
	}
	n, err := m.Run(data[:])
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// naive evaluates a profile rule by rule, straight from the package comment.
func naive(p *specs.LinuxSeccomp, m machine, c call) uint32 {
	fallback, _ := actionOf(p.DefaultAction, p.DefaultErrnoRet)
	var a *abi
	for i := range m {
		if m[i].audit == c.audit && (i == 0 || slices.Contains(p.Architectures, m[i].arch)) {
			x32 := c.audit == unix.AUDIT_ARCH_X86_64 && c.nr >= x32Bit && c.nr != noCall
			if x32 == (m[i].bit != 0) {
				a = &m[i]
			}
		}
	}
	if a == nil {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	newest, known := uint32(0), false
	best, found := uint32(0), false
	consider := func(nr, action uint32, hit bool) {
		if nr < a.end && nr >= newest {
			newest, known = nr, true
		}
		if nr == c.nr && hit && (!found || strictness(action) <= strictness(best)) {
			best, found = action, true
		}
	}
	for _, s := range p.Syscalls {
		action, _ := actionOf(s.Action, s.ErrnoRet)
		count := map[uint]int{}
		for _, arg := range s.Args {
			count[arg.Index]++
		}
		any, all := false, true
		repeated := false
		for _, arg := range s.Args {
			ok := holds(arg, c.args[arg.Index], a.narrow)
			any, all = any || ok, all && ok
			repeated = repeated || count[arg.Index] > 1
		}
		hit := all
		if repeated {
			hit = any
		}
		for _, name := range s.Names {
			if nr, ok := a.number(row(name)); ok {
				consider(nr, action, hit)
			}
			if !a.muxed || len(s.Args) > 0 && strictness(action) > unix.SECCOMP_RET_USER_NOTIF {
				continue
			}
			if i := slices.Index(socketCalls[:], name); i >= 0 {
				consider(102, action, c.args[0]&0xffff == uint64(i+1))
			}
			if i := slices.Index(ipcCalls[:], name); i > 0 {
				consider(117, action, c.args[0]&0xffff == uint64(i))
			}
		}
	}
	if c.nr != noCall && known && c.nr > newest && denies(fallback) && c.nr < a.end {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	if found {
		return best
	}
	return fallback
}

func holds(a specs.LinuxSeccompArg, v uint64, narrow bool) bool {
	x, y := a.Value, a.ValueTwo
	if narrow {
		v, x, y = uint64(uint32(v)), uint64(uint32(x)), uint64(uint32(y))
	}
	switch a.Op {
	case specs.OpEqualTo:
		return v == x
	case specs.OpNotEqual:
		return v != x
	case specs.OpGreaterThan:
		return v > x
	case specs.OpGreaterEqual:
		return v >= x
	case specs.OpLessThan:
		return v < x
	case specs.OpLessEqual:
		return v <= x
	case specs.OpMaskedEqual:
		return v&x == y&x
	}
	panic("operator")
}

// callsFor lists calls worth trying on a profile: every number near those of the
// table on every ABI, with arguments around the values that the rules name.
func callsFor(p *specs.LinuxSeccomp, rnd *rand.Rand) []call {
	values := []uint64{0, 1, 0xffffffff, 0x100000000, 0xffffffffffffffff}
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo, a.Value | a.ValueTwo} {
				values = append(values, v, v+1, v-1, v|1<<32, v|1<<63)
			}
		}
	}
	var list []call
	audits := []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM, 0, unix.AUDIT_ARCH_PPC64}
	for _, audit := range audits {
		for _, base := range []uint32{0, x32Bit} {
			for nr := range uint32(600) {
				for range 6 {
					c := call{audit: audit, nr: base + nr}
					for i := range c.args {
						c.args[i] = values[rnd.IntN(len(values))]
					}
					list = append(list, c)
				}
			}
		}
		for _, nr := range []uint32{x32Bit - 1, noCall - 1, noCall, 0x7fffffff, 0x80000000, privateCalls - 1, privateCalls, privateCalls + 2, privateCalls + 5, privateCalls + 9} {
			list = append(list, call{audit: audit, nr: nr})
		}
	}
	return list
}

func compare(t *testing.T, p *specs.LinuxSeccomp, arch string, rnd *rand.Rand) {
	t.Helper()
	prog, _, err := Compile(p, arch)
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, prog)
	for _, c := range callsFor(p, rnd) {
		if got, want := m.run(t, c), naive(p, machines[arch], c); got != want {
			t.Fatalf("call %#x of %#x with %#x: the program says %#x, the rules %#x", c.nr, c.audit, c.args, got, want)
		}
	}
}

func defaultProfile(t testing.TB, caps ...string) *specs.LinuxSeccomp {
	t.Helper()
	p, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultProfile(t *testing.T) {
	for name, caps := range map[string][]string{"default": {"CAP_SYS_CHROOT"}, "admin": {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"}} {
		for _, arch := range []string{"amd64", "arm64"} {
			t.Run(name+" "+arch, func(t *testing.T) {
				p := defaultProfile(t, caps...)
				if arch == "arm64" {
					p.Architectures = []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
				}
				compare(t, p, arch, rand.New(rand.NewPCG(1, 2)))
				prog, flags, err := Compile(p, arch)
				if err != nil || flags != unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW {
					t.Errorf("flags %#x, %v", flags, err)
				}
				t.Logf("%d instructions", len(prog))
				if len(prog) > 1000 {
					t.Errorf("%d instructions are too many for the default profile", len(prog))
				}
			})
		}
	}
}

// What SECURITY asks of the default profile, spelled out.
func TestDefaultProfileDenies(t *testing.T) {
	prog, _, err := Compile(defaultProfile(t), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, prog)
	eperm, enosys := uint32(unix.SECCOMP_RET_ERRNO|unix.EPERM), uint32(unix.SECCOMP_RET_ERRNO|unix.ENOSYS)
	const newUser = unix.CLONE_NEWUSER
	for _, tt := range []struct {
		name string
		c    call
		want uint32
	}{
		{"read", call{nr: unix.SYS_READ}, unix.SECCOMP_RET_ALLOW},
		{"x32 read", call{nr: x32Bit + unix.SYS_READ}, unix.SECCOMP_RET_ALLOW},
		{"socket AF_INET", call{nr: unix.SYS_SOCKET, args: [6]uint64{unix.AF_INET}}, unix.SECCOMP_RET_ALLOW},
		{"socket AF_VSOCK", call{nr: unix.SYS_SOCKET, args: [6]uint64{unix.AF_VSOCK}}, eperm},
		{"socket AF_ALG", call{nr: unix.SYS_SOCKET, args: [6]uint64{unix.AF_ALG}}, eperm},
		{"socket AF_ALG, high bits", call{nr: unix.SYS_SOCKET, args: [6]uint64{1<<32 | unix.AF_ALG}}, eperm},
		{"clone", call{nr: unix.SYS_CLONE, args: [6]uint64{uint64(unix.SIGCHLD)}}, unix.SECCOMP_RET_ALLOW},
		{"clone NEWUSER", call{nr: unix.SYS_CLONE, args: [6]uint64{newUser}}, eperm},
		{"x32 clone NEWUSER", call{nr: x32Bit + unix.SYS_CLONE, args: [6]uint64{newUser}}, eperm},
		{"clone3", call{nr: unix.SYS_CLONE3}, enosys},
		{"unshare", call{nr: unix.SYS_UNSHARE}, eperm},
		{"mount", call{nr: unix.SYS_MOUNT}, eperm},
		{"fsopen", call{nr: unix.SYS_FSOPEN}, eperm},
		{"bpf", call{nr: unix.SYS_BPF}, eperm},
		{"io_uring_setup", call{nr: unix.SYS_IO_URING_SETUP}, eperm},
		{"userfaultfd", call{nr: unix.SYS_USERFAULTFD}, eperm},
		{"keyctl", call{nr: unix.SYS_KEYCTL}, eperm},
		{"personality -1", call{nr: unix.SYS_PERSONALITY, args: [6]uint64{0xffffffff}}, unix.SECCOMP_RET_ALLOW},
		{"personality READ_IMPLIES_EXEC", call{nr: unix.SYS_PERSONALITY, args: [6]uint64{0x0400000}}, eperm},
		{"a call of the future", call{nr: 900}, enosys},
		{"an x32 call of the future", call{nr: x32Bit + 900}, enosys},
		{"skipped by a tracer", call{nr: noCall}, eperm},
		{"i386 clone NEWUSER", call{audit: unix.AUDIT_ARCH_I386, nr: 120, args: [6]uint64{newUser}}, eperm},
		{"arm", call{audit: unix.AUDIT_ARCH_ARM, nr: 1}, unix.SECCOMP_RET_KILL_PROCESS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.c.audit == 0 {
				tt.c.audit = unix.AUDIT_ARCH_X86_64
			}
			if got := m.run(t, tt.c); got != tt.want {
				t.Errorf("got %#x, want %#x", got, tt.want)
			}
		})
	}
}

var operators = []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
	specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}

var actions = []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActLog, specs.ActKill, specs.ActKillProcess,
	specs.ActTrap, specs.ActTrace, specs.ActNotify, specs.ActAllow, specs.ActErrno}

// randomProfile makes profiles with few names, so that rules meet on one call.
func randomProfile(rnd *rand.Rand) *specs.LinuxSeccomp {
	names := []string{"read", "write", "socket", "socketcall", "ipc", "shmat", "clone", "ioctl", "personality", "mseal",
		"waitid", "cacheflush", "set_tls", "no_such_call", "futex", "accept4", "kexec_load", "execveat"}
	pick := func() uint64 {
		switch rnd.IntN(4) {
		case 0:
			return uint64(rnd.IntN(4))
		case 1:
			return rnd.Uint64()
		case 2:
			return uint64(rnd.Uint32())
		}
		return uint64(rnd.IntN(3)) << 32
	}
	p := &specs.LinuxSeccomp{DefaultAction: actions[rnd.IntN(len(actions))]}
	all := []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchS390X}
	for _, a := range all {
		if rnd.IntN(2) == 0 {
			p.Architectures = append(p.Architectures, a)
		}
	}
	for range rnd.IntN(12) {
		s := specs.LinuxSyscall{Action: actions[rnd.IntN(len(actions))]}
		if rnd.IntN(2) == 0 {
			if s.Action == specs.ActErrno || s.Action == specs.ActTrace {
				s.ErrnoRet = ptr(uint(rnd.IntN(5)))
			}
		}
		for range 1 + rnd.IntN(4) {
			s.Names = append(s.Names, names[rnd.IntN(len(names))])
		}
		for range rnd.IntN(4) {
			s.Args = append(s.Args, specs.LinuxSeccompArg{Index: uint(rnd.IntN(6)), Value: pick(), ValueTwo: pick(), Op: operators[rnd.IntN(len(operators))]})
		}
		p.Syscalls = append(p.Syscalls, s)
		if rnd.IntN(4) == 0 { // a list of allowed values
			for range 5 {
				p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: s.Names, Action: s.Action, ErrnoRet: s.ErrnoRet,
					Args: []specs.LinuxSeccompArg{{Index: 1, Value: pick(), Op: specs.OpEqualTo}}})
			}
		}
	}
	return p
}

func TestRandomProfiles(t *testing.T) {
	const profiles = 60
	for seed := range uint64(profiles) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		p := randomProfile(rnd)
		for _, arch := range []string{"amd64", "arm64"} {
			t.Run(fmt.Sprintf("%s %d", arch, seed), func(t *testing.T) { compare(t, p, arch, rnd) })
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(uint64(1), uint64(0), uint32(41), uint64(38))
	f.Add(uint64(2), uint64(9), uint32(x32Bit+1), uint64(1)<<32)
	f.Fuzz(func(t *testing.T, seed, stream uint64, nr uint32, arg uint64) {
		rnd := rand.New(rand.NewPCG(seed, stream))
		p := randomProfile(rnd)
		for arch, m := range machines {
			prog, _, err := Compile(p, arch)
			if err != nil {
				t.Fatal(err)
			}
			vm := load(t, prog)
			for i := range m {
				c := call{audit: m[i].audit, nr: nr, args: [6]uint64{arg, arg >> 1, arg << 1, ^arg, 0, 1}}
				if m[i].narrow {
					for i := range c.args {
						c.args[i] &= 0xffffffff
					}
				}
				if got, want := vm.run(t, c), naive(p, m, c); got != want {
					t.Fatalf("call %#x of %#x with %#x: the program says %#x, the rules %#x", c.nr, c.audit, c.args, got, want)
				}
			}
		}
	})
}

// 250 values and a condition on every argument: the longest jumps there are.
func TestLargeLeaves(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32}}
	for i := range 600 {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 1, Value: uint64(i) * 3, Op: specs.OpEqualTo}}})
	}
	all := specs.LinuxSyscall{Names: []string{"write", "read"}, Action: specs.ActAllow}
	for i := range uint(6) {
		all.Args = append(all.Args, specs.LinuxSeccompArg{Index: i, Value: 1 << 40, Op: specs.OpLessThan})
	}
	p.Syscalls = append(p.Syscalls, all)
	compare(t, p, "amd64", rand.New(rand.NewPCG(3, 3)))

	for i := range 5000 {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 1, Value: uint64(i), Op: specs.OpGreaterThan}}})
	}
	if _, _, err := Compile(p, "amd64"); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "instructions") {
		t.Errorf("a profile beyond the kernel's limit: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	one := func(s specs.LinuxSyscall) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{s}}
	}
	read := []string{"read"}
	for name, tt := range map[string]struct {
		p    *specs.LinuxSeccomp
		text string
	}{
		"no default":     {&specs.LinuxSeccomp{}, `seccomp: default action: unknown action ""`},
		"action":         {one(specs.LinuxSyscall{Names: read, Action: "SCMP_ACT_X"}), `seccomp: rule 1 for "read": unknown action "SCMP_ACT_X"`},
		"errno":          {one(specs.LinuxSyscall{Names: read, Action: specs.ActErrno, ErrnoRet: ptr(uint(4096))}), "errnoRet 4096 is larger"},
		"needless errno": {one(specs.LinuxSyscall{Names: read, Action: specs.ActAllow, ErrnoRet: ptr(uint(1))}), "SCMP_ACT_ALLOW returns none"},
		"trace":          {one(specs.LinuxSyscall{Names: read, Action: specs.ActTrace, ErrnoRet: ptr(uint(1 << 16))}), "16 bits"},
		"argument":       {one(specs.LinuxSyscall{Names: read, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}), "argument 6 does not exist"},
		"operator":       {one(specs.LinuxSyscall{Names: read, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{{Op: "~"}}}), `unknown comparison "~"`},
		"names":          {one(specs.LinuxSyscall{Action: specs.ActLog}), "at least one system call"},
		"flag":           {&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"X"}}, `unknown flag "X"`},
		"architecture":   {&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"vax"}}, `unknown architecture "vax"`},
		"default errno":  {&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: ptr(uint(70000))}, "errnoRet 70000"},
		"hostile string": {one(specs.LinuxSyscall{Names: []string{"a\x1b[2J\n"}, Action: "x"}), `\x1b`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Compile(tt.p, "amd64")
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.text) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, _, err := Compile(&specs.LinuxSeccomp{}, "vax"); !errors.Is(err, fault.NotImplemented) {
		t.Errorf("unknown machine: %v", err)
	}
	if prog, flags, err := Compile(nil, "vax"); prog != nil || flags != 0 || err != nil {
		t.Errorf("no profile: %v, %v, %v", prog, flags, err)
	}
}

func TestFlags(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, "SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagWaitKillableRecv},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}}
	_, flags, err := Compile(p, "amd64")
	if want := uint(unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER); err != nil || flags != want {
		t.Errorf("flags %#x, %v; want %#x", flags, err, want)
	}
}

func TestNumbers(t *testing.T) {
	abis := map[string]*abi{}
	for _, m := range machines {
		for i := range m {
			abis[string(m[i].arch)] = &m[i]
		}
	}
	for _, tt := range []struct {
		arch specs.Arch
		name string
		nr   uint32
		ok   bool
	}{
		{specs.ArchX86_64, "read", 0, true}, {specs.ArchX86_64, "execve", 59, true}, {specs.ArchX86_64, "clone3", 435, true},
		{specs.ArchX86_64, "socketcall", 0, false}, {specs.ArchX86_64, "zzz", 0, false}, {specs.ArchX86_64, "", 0, false},
		{specs.ArchX32, "execve", x32Bit + 520, true}, {specs.ArchX32, "read", x32Bit, true}, {specs.ArchX32, "uselib", 0, false},
		{specs.ArchX86, "socketcall", 102, true}, {specs.ArchX86, "_llseek", 140, true}, {specs.ArchX86, "ipc", 117, true},
		{specs.ArchAARCH64, "read", 63, true}, {specs.ArchAARCH64, "open", 0, false}, {specs.ArchARM, "set_tls", 0xf0005, true},
	} {
		nr, ok := abis[string(tt.arch)].number(row(tt.name))
		if ok != tt.ok || ok && nr != tt.nr {
			t.Errorf("%s %s: %#x, %v", tt.arch, tt.name, nr, ok)
		}
	}
}

// The golden files show a reviewer what a change does to real programs.
func TestGolden(t *testing.T) {
	for name, p := range map[string]*specs.LinuxSeccomp{
		"small": {DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86}, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "write", "exit_group"}, Action: specs.ActAllow},
			{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}, {Index: 1, Value: 3, Op: specs.OpLessEqual}}},
			{Names: []string{"kexec_load"}, Action: specs.ActKillProcess},
		}},
		"default": nil,
	} {
		t.Run(name, func(t *testing.T) {
			if p == nil {
				p = defaultProfile(t)
			}
			prog, _, err := Compile(p, "amd64")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".bpf")
			text := listing(t, prog)
			if *update {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("the program is not that of %s; look at what changed, then run with -update", file)
			}
		})
	}
}

func listing(t *testing.T, prog []unix.SockFilter) string {
	t.Helper()
	var b strings.Builder
	for i, f := range prog {
		insn := bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}.Disassemble()
		fmt.Fprintf(&b, "%4d  %v\n", i, insn)
	}
	return b.String()
}

func BenchmarkCompile(b *testing.B) {
	p := defaultProfile(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Compile(p, "amd64"); err != nil {
			b.Fatal(err)
		}
	}
}
