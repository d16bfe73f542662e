package privs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// OOMScore adds the OOM score. proc is a procfs of the caller's PID namespace.
// Lowering it below the caller's own needs CAP_SYS_RESOURCE: without it a step
// that would fail is replaced by a warning.
func OOMScore(b *launch.Builder, proc launch.Arg, want int, warn func(string)) error {
	if want < -1000 || want > 1000 {
		return fault.New(fault.Invalid, "OOM score adjustment %d is not between -1000 and 1000", want)
	}
	data, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return fmt.Errorf("read the OOM score adjustment: %w", err)
	}
	now, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("read the OOM score adjustment: %w", err)
	}
	if want == now {
		return nil
	}
	if want < now && !mayRaise() {
		warn(fmt.Sprintf("the OOM score adjustment stays at %d instead of %d: lowering it needs CAP_SYS_RESOURCE", now, want))
		return nil
	}
	b.At("set the OOM score adjustment")
	b.WriteFile(proc, "self/oom_score_adj", strconv.Itoa(want))
	return nil
}

// SessionKeyring adds a new session keyring, so that the container does not see
// the keys of whoever started the engine.
func SessionKeyring(b *launch.Builder) {
	b.At("join a new session keyring", launch.Hint{Errno: syscall.EDQUOT, Text: "the quota of keys is used up: see /proc/sys/kernel/keys"})
	// ENOSYS: a kernel without keys has none to hide. EPERM: an outer container's
	// seccomp profile forbids keyctl, and with it all use of the keys.
	b.Call(unix.SYS_KEYCTL, launch.Int(unix.KEYCTL_JOIN_SESSION_KEYRING), launch.Int(0)).Ignore(syscall.ENOSYS, syscall.EPERM)
}

// Labels adds the AppArmor profile and the SELinux label of the next execve.
func Labels(b *launch.Builder, proc launch.Arg, p *specs.Process) error {
	if profile := p.ApparmorProfile; profile != "" && profile != "unconfined" {
		if !enabled("/sys/module/apparmor/parameters/enabled", "Y") {
			return fault.New(fault.Invalid, "AppArmor profile %q: this kernel has no AppArmor, or it is off", profile)
		}
		b.At("set the AppArmor profile "+strconv.Quote(profile), launch.Hint{Errno: syscall.ENOENT, Text: "load it with apparmor_parser"})
		b.WriteFile(proc, "self/attr/exec", "exec "+profile)
	}
	if label := p.SelinuxLabel; label != "" {
		if !SELinux() {
			return fault.New(fault.Invalid, "SELinux label %q: this kernel has no SELinux, or it is off", label)
		}
		b.At("set the SELinux label " + strconv.Quote(label))
		b.WriteFile(proc, "self/attr/exec", label)
	}
	return nil
}

// SELinux says whether the kernel has it, and it is on.
func SELinux() bool { return enabled("/sys/fs/selinux/enforce", "") }

func enabled(path, want string) bool {
	data, err := os.ReadFile(path)
	return err == nil && strings.HasPrefix(string(data), want)
}

// IOPriority adds the I/O scheduling class (ioprio_set(2)).
func IOPriority(b *launch.Builder, p *specs.LinuxIOPriority) error {
	if p == nil {
		return nil
	}
	classes := map[specs.IOPriorityClass]int{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}
	class, ok := classes[p.Class]
	if !ok || p.Priority < 0 || p.Priority > 7 {
		return fault.New(fault.Invalid, "I/O priority %s %d: the class is not known or the priority is not between 0 and 7", p.Class, p.Priority)
	}
	const whoProcess, classShift = 1, 13
	b.At("set the I/O priority")
	b.Call(unix.SYS_IOPRIO_SET, launch.Int(whoProcess), launch.Int(0), launch.Int(class<<classShift|p.Priority))
	return nil
}

// Scheduler adds the scheduling policy (sched_setattr(2)). Unless an exec has processors
// of its own the process may run on all of its cpuset: a mask that somebody gave the
// engine (taskset, CPUAffinity= of systemd) is not the container's, as for runc 1.4.
func Scheduler(b *launch.Builder, p *specs.Process) error {
	if p.ExecCPUAffinity == nil {
		all := b.Space(maxProcessors / 8)
		for i := range all.Bytes() {
			all.Bytes()[i] = 0xff
		}
		b.At("run on all processors of the cpuset")
		b.Call(unix.SYS_SCHED_SETAFFINITY, launch.Int(0), launch.Int(maxProcessors/8), all.Addr()).Ignore()
	}
	s := p.Scheduler
	if s == nil {
		return nil
	}
	policies := map[specs.LinuxSchedulerPolicy]uint32{
		specs.SchedOther: unix.SCHED_NORMAL, specs.SchedFIFO: unix.SCHED_FIFO, specs.SchedRR: unix.SCHED_RR,
		specs.SchedBatch: unix.SCHED_BATCH, specs.SchedIdle: unix.SCHED_IDLE, specs.SchedDeadline: unix.SCHED_DEADLINE,
	}
	flags := map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagResetOnFork: unix.SCHED_FLAG_RESET_ON_FORK, specs.SchedFlagReclaim: unix.SCHED_FLAG_RECLAIM,
		specs.SchedFlagDLOverrun: unix.SCHED_FLAG_DL_OVERRUN, specs.SchedFlagKeepPolicy: unix.SCHED_FLAG_KEEP_POLICY,
		specs.SchedFlagKeepParams: unix.SCHED_FLAG_KEEP_PARAMS, specs.SchedFlagUtilClampMin: unix.SCHED_FLAG_UTIL_CLAMP_MIN,
		specs.SchedFlagUtilClampMax: unix.SCHED_FLAG_UTIL_CLAMP_MAX,
	}
	policy, ok := policies[s.Policy]
	if !ok {
		return fault.New(fault.Invalid, "unknown scheduling policy %q", s.Policy)
	}
	attr := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority),
		Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}
	for _, f := range s.Flags {
		bit, ok := flags[f]
		if !ok {
			return fault.New(fault.Invalid, "unknown scheduling flag %q", f)
		}
		attr.Flags |= bit
	}
	m := b.Space(unix.SizeofSchedAttr)
	*(*unix.SchedAttr)(unsafe.Pointer(&m.Bytes()[0])) = attr
	b.At("set the scheduling policy "+string(s.Policy), launch.Hint{Errno: syscall.EPERM, Text: "real-time policies need CAP_SYS_NICE, and a control group with a real-time share (linux.resources.cpu.realtimeRuntime) where the kernel divides that"})
	b.Call(unix.SYS_SCHED_SETATTR, launch.Int(0), m.Addr(), launch.Int(0))
	return nil
}

// maxProcessors is more than a machine has: the kernel cuts a mask to its own length.
const maxProcessors = 1024
