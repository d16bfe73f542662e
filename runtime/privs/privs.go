// Package privs compiles the privileges of a container's process into launch
// steps: ids, capabilities, resource limits, no_new_privs, seccomp, security
// labels and scheduling. It also makes user namespaces.
//
// The order of the steps is fixed by the kernel and is in one place, Settle.
package privs

import (
	"fmt"
	"strconv"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// Config says what the process may do at the end.
type Config struct {
	Process *specs.Process
	UserNS  bool              // the process is in another user namespace than the caller
	Nested  bool              // the caller is not in the machine's first user namespace, or is not root
	Filter  []unix.SockFilter // seccomp program, or empty
	Flags   uint              // of the seccomp program
	Die     bool              // SIGKILL when the parent dies
	Warn    func(string)      // never nil
	Stdio   [3]bool           // which of 0-2 the process's user gets as owner
}

// defaultUmask is what runc and crun give a process.
const defaultUmask = 0o022

// Settle adds the steps that give up everything the process may not keep. What
// follows may only be fork, setsid, ioctl, prctl and execve.
//
//  1. owner of stdio, umask, bounding set: need the full set of capabilities
//  2. groups, gid, uid: with PR_SET_KEEPCAPS, since what follows needs capabilities
//  3. parent-death signal: a change of the uid resets it
//  4. launch.Done: a filter may forbid to say more
//  5. without no_new_privs: filter, which needs CAP_SYS_ADMIN, then capabilities;
//     with it: capabilities, then filter, so that the filter may forbid capset
func Settle(b *launch.Builder, c Config) error {
	p := c.Process
	caps := parseCaps(p.Capabilities, c.Warn)
	if weak.Off("inheritable") {
		caps.inheritable = caps.bounding
	}
	if err := caps.limit(c.UserNS, c.Warn); err != nil {
		return err
	}
	if p.User.UID != 0 || c.UserNS {
		ownStdio(b, p.User.UID, c.Stdio)
	}
	umask := uint32(defaultUmask)
	if p.User.Umask != nil {
		umask = *p.User.Umask
	}
	b.At("set the umask")
	b.Call(unix.SYS_UMASK, launch.Int(int(umask&0o777)))
	if p.NoNewPrivileges {
		b.At("set no_new_privs")
		b.Prctl(unix.PR_SET_NO_NEW_PRIVS, launch.Int(1), launch.Int(0), launch.Int(0), launch.Int(0))
	}
	caps.dropBounding(b)
	b.At("keep capabilities while the user changes")
	b.Prctl(unix.PR_SET_KEEPCAPS, launch.Int(1), launch.Int(0), launch.Int(0), launch.Int(0))
	if err := ids(b, p.User, c.UserNS || c.Nested); err != nil {
		return err
	}
	if c.Die {
		DieWithParent(b)
	}
	b.At("report that the set-up is done")
	b.Say(launch.Done, launch.Int(0))
	switch {
	case len(c.Filter) == 0:
		caps.apply(b)
	case p.NoNewPrivileges:
		caps.apply(b)
		loadFilter(b, c.Filter, c.Flags)
	default:
		caps.regain(b)
		loadFilter(b, c.Filter, c.Flags)
		caps.apply(b)
	}
	return nil
}

// DieWithParent adds the parent-death signal. A fork, and a change of ids or a gain
// of capabilities, reset it.
func DieWithParent(b *launch.Builder) {
	b.At("tie the process to its supervisor")
	b.Prctl(unix.PR_SET_PDEATHSIG, launch.Int(int(unix.SIGKILL)), launch.Int(0), launch.Int(0), launch.Int(0))
}

// ownStdio lets the user open /dev/stdout and its like again. Files that cannot
// change their owner are left alone, as runc does.
func ownStdio(b *launch.Builder, uid uint32, which [3]bool) {
	b.At("give stdio to the user")
	for fd, wanted := range which {
		if wanted {
			b.Call(unix.SYS_FCHOWN, launch.Int(fd), launch.Int(int(uid)), launch.Word(noID)).Ignore()
		}
	}
}

// noID is -1 as uid_t or gid_t: "leave alone", so it is no id.
const noID = 0xffffffff

func ids(b *launch.Builder, u specs.User, nested bool) error {
	for _, id := range append([]uint32{u.UID, u.GID}, u.AdditionalGids...) {
		if id == noID && !weak.Off("ids") {
			return fault.New(fault.Invalid, "user and group ids end at 4294967294; 4294967295 means \"no id\" to the kernel")
		}
	}
	groups := b.Space(4 * len(u.AdditionalGids))
	for i, g := range u.AdditionalGids {
		*(*uint32)(unsafe.Pointer(&groups.Bytes()[4*i])) = g
	}
	unmapped := "the id is not in the user namespace's map"
	b.At("set the supplementary groups", launch.Hint{Errno: syscall.EINVAL, Text: unmapped},
		launch.Hint{Errno: syscall.EPERM, Text: "cannot set any additional groups in a rootless container whose map is one group: setgroups is given up there"})
	set := b.Call(unix.SYS_SETGROUPS, launch.Int(len(u.AdditionalGids)), groups.Addr())
	if nested && len(u.AdditionalGids) == 0 {
		set.Ignore(syscall.EPERM) // the caller's groups stay where setgroups was given up
	}
	b.At("set the group id "+strconv.FormatUint(uint64(u.GID), 10), launch.Hint{Errno: syscall.EINVAL, Text: unmapped})
	g, id := launch.Word(uintptr(u.GID)), launch.Word(uintptr(u.UID))
	if !weak.Off("groups") {
		b.Call(unix.SYS_SETRESGID, g, g, g)
	}
	b.At("set the user id "+strconv.FormatUint(uint64(u.UID), 10), launch.Hint{Errno: syscall.EINVAL, Text: unmapped},
		launch.Hint{Errno: syscall.EAGAIN, Text: "the user's limit of processes is reached"})
	b.Call(unix.SYS_SETRESUID, id, id, id)
	return nil
}

// loadFilter adds the seccomp filter.
func loadFilter(b *launch.Builder, filter []unix.SockFilter, flags uint) {
	const maxInstructions = 4096 // BPF_MAXINSNS
	hint := "the profile is not accepted by this kernel"
	if len(filter) > maxInstructions {
		hint = fmt.Sprintf("the profile compiles to %d instructions, the kernel takes %d", len(filter), maxInstructions)
	}
	b.At("load the seccomp profile", launch.Hint{Errno: syscall.EINVAL, Text: hint})
	size := int(unsafe.Sizeof(unix.SockFilter{}))
	code := b.Data(unsafe.Slice((*byte)(unsafe.Pointer(&filter[0])), len(filter)*size))
	// struct sock_fprog: a length and an address, each in one word.
	prog := b.Space(16)
	*(*uint16)(unsafe.Pointer(&prog.Bytes()[0])) = uint16(len(filter))
	*(*uintptr)(unsafe.Pointer(&prog.Bytes()[8])) = uintptr(unsafe.Pointer(&code.Bytes()[0]))
	load := b.Call(unix.SYS_SECCOMP, launch.Int(unix.SECCOMP_SET_MODE_FILTER), launch.Word(uintptr(flags)), prog.Addr())
	if flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
		return
	}
	// The filter holds for these two calls already; see seccomp.CheckNotify.
	listener := b.Slot()
	load.Into(listener)
	b.At("send the seccomp listener", launch.Hint{Errno: 0, Text: "a profile with SCMP_ACT_NOTIFY must allow sendmsg"})
	b.Send(launch.In(listener))
	b.Close(listener)
}
