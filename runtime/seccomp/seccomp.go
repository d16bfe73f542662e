// Package seccomp compiles the seccomp part of an OCI spec into a classic BPF
// program for seccomp(2) SECCOMP_SET_MODE_FILTER. Nothing is loaded here; the
// launch program does that in the container's first process. It also hands the
// descriptor of a profile that notifies to its listener.
//
// What a profile means:
//
//   - The kernel's own architecture is always covered. Calls of an architecture
//     that the profile does not list, and x32 calls when it does not list x32,
//     kill the process.
//   - Names that this package's table does not have for an architecture are left
//     out, as libseccomp does: profiles name calls of many kernels and machines.
//   - When several rules match one call, the strictest action wins, in the order
//     the kernel uses between filters; among equals the last one.
//   - The conditions of one rule must all hold, except that a rule with two
//     conditions on the same argument is taken as one rule for each condition.
//     This is what runc does and what profiles are written for.
//   - With a default action that denies, calls newer than every call the profile
//     names fail with ENOSYS, so that a C library falls back to an older call
//     instead of taking EPERM for an answer. runc does the same.
//   - On 32-bit x86 the calls that socketcall and ipc bundle are covered too: see mux.go.
//
// Limits: the classic program of the kernel holds 4096 instructions. Big-endian
// machines are not supported.
package seccomp

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// MaxInstructions is the kernel's limit for one program (BPF_MAXINSNS).
const MaxInstructions = 4096

// maxErrno is the largest error number a system call can return.
const maxErrno = 4095

// Compile translates a profile for a kernel of the given architecture ("amd64"
// or "arm64", as runtime.GOARCH says). The flags are those for seccomp(2)
// (SECCOMP_FILTER_FLAG_*); SECCOMP_FILTER_FLAG_NEW_LISTENER is among them when
// the profile notifies, and then seccomp(2) returns the listener's descriptor.
// A nil profile gives no program and no error. Errors are fault.Invalid.
func Compile(p *specs.LinuxSeccomp, arch string) (prog []unix.SockFilter, flags uint, err error) {
	if p == nil {
		return nil, 0, nil
	}
	machine, ok := machines[arch]
	if !ok {
		return nil, 0, fault.New(fault.NotImplemented, "seccomp: profiles cannot be compiled for %s yet; run without one (--security-opt seccomp=unconfined)", arch)
	}
	if flags, err = filterFlags(p); err != nil {
		return nil, 0, err
	}
	fallback, err := actionOf(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, 0, invalid("default action", err)
	}
	rules, err := parse(p, fallback)
	if err != nil {
		return nil, 0, err
	}
	for i := range rules {
		if rules[i].action&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_USER_NOTIF {
			flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		}
	}
	listed, err := machine.listed(p.Architectures)
	if err != nil {
		return nil, 0, err
	}
	prog = newProfile(rules, fallback).assemble(listed)
	if len(prog) > MaxInstructions {
		return nil, 0, fault.New(fault.Invalid, "seccomp: the profile needs %d instructions, the kernel takes %d; use fewer rules with arguments", len(prog), MaxInstructions)
	}
	return prog, flags, nil
}

func invalid(where string, err error) error {
	return fault.New(fault.Invalid, "seccomp: %s: %w", where, err)
}

func filterFlags(p *specs.LinuxSeccomp) (uint, error) {
	if p.Flags == nil {
		// Kernels before 5.16 otherwise slow down every filtered process with
		// a mitigation that a container does not need; runc sets it too.
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	var flags uint
	for _, f := range p.Flags {
		switch f {
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			flags |= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		case "SECCOMP_FILTER_FLAG_TSYNC":
			// The process has one thread when the filter is loaded.
		default:
			return 0, fault.New(fault.Invalid, "seccomp: unknown flag %q", string(f))
		}
	}
	return flags, nil
}

// actionOf translates an action to the filter's return value.
func actionOf(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint(unix.EPERM)
	if errno != nil {
		data = *errno
		if a != specs.ActErrno && a != specs.ActTrace {
			return 0, fault.New(fault.Invalid, "errnoRet is given, but the action %s returns none", string(a))
		}
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActErrno:
		if data > maxErrno {
			return 0, fault.New(fault.Invalid, "errnoRet %d is larger than %d", data, maxErrno)
		}
		return unix.SECCOMP_RET_ERRNO | uint32(data), nil
	case specs.ActTrace:
		if data > unix.SECCOMP_RET_DATA {
			return 0, fault.New(fault.Invalid, "errnoRet %d does not fit into 16 bits", data)
		}
		return unix.SECCOMP_RET_TRACE | uint32(data), nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, nil
	}
	return 0, fault.New(fault.Invalid, "unknown action %q", string(a))
}

// strictness orders actions as the kernel does between filters: it takes the
// smallest as a signed number, so that KILL_PROCESS (0x80000000) comes first.
func strictness(action uint32) int32 { return int32(action & unix.SECCOMP_RET_ACTION_FULL) }

// denies reports whether an action keeps the call from being carried out, so
// that unknown new calls should say ENOSYS. A tracer or a listener decides itself.
func denies(action uint32) bool { return strictness(action) <= unix.SECCOMP_RET_ERRNO }

// condition is one test of an argument.
type condition struct {
	index uint
	op    specs.LinuxSeccompOperator
	value uint64
	mask  uint64 // for MASKED_EQ
}

// rule is a normalised rule: all conditions hold → action.
type rule struct {
	names  []string
	action uint32
	when   []condition
}

// maxRules bounds a profile: entries count rules in 16 bits, and as each rule with
// conditions needs instructions of its own, no larger one fits into a program.
const maxRules = 8192

// maxArgs is the number of arguments of a system call.
const maxArgs = 6

func parse(p *specs.LinuxSeccomp, fallback uint32) ([]rule, error) {
	rules := make([]rule, 0, len(p.Syscalls))
	for i := range p.Syscalls {
		s := &p.Syscalls[i]
		if len(rules)+len(s.Args) > maxRules {
			return nil, fault.New(fault.Invalid, "seccomp: the profile has more than %d rules", maxRules)
		}
		where := func() string {
			name := "without a name"
			if len(s.Names) > 0 {
				name = "for " + strconv.Quote(s.Names[0])
			}
			return "rule " + strconv.Itoa(i+1) + " " + name
		}
		action, err := actionOf(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, invalid(where(), err)
		}
		if len(s.Names) == 0 {
			return nil, fault.New(fault.Invalid, "seccomp: %s: it must name at least one system call", where())
		}
		when := make([]condition, 0, len(s.Args))
		seen, repeated := [maxArgs]bool{}, false
		for _, a := range s.Args {
			c, err := conditionOf(a)
			if err != nil {
				return nil, invalid(where(), err)
			}
			repeated = repeated || seen[c.index]
			seen[c.index] = true
			when = append(when, c)
		}
		if !repeated {
			rules = append(rules, rule{s.Names, action, when})
			continue
		}
		for _, c := range when {
			rules = append(rules, rule{s.Names, action, []condition{c}})
		}
	}
	return rules, nil
}

func conditionOf(a specs.LinuxSeccompArg) (condition, error) {
	if a.Index >= maxArgs {
		return condition{}, fault.New(fault.Invalid, "argument %d does not exist; they count from 0 to %d", a.Index, maxArgs-1)
	}
	c := condition{index: a.Index, op: a.Op, value: a.Value}
	switch a.Op {
	case specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan:
	case specs.OpMaskedEqual:
		// The spec's value is the mask. Bits outside it cannot be asked for.
		c.mask, c.value = a.Value, a.ValueTwo&a.Value
	default:
		return condition{}, fault.New(fault.Invalid, "unknown comparison %q", string(a.Op))
	}
	return c, nil
}
