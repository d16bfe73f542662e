package privs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// capNames are the capabilities in the order of their numbers (linux/capability.h).
var capNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// lastCap is the highest capability of the running kernel.
var lastCap = sync.OnceValue(func() int {
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if n, err2 := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && err2 == nil && n < 64 {
		return n
	}
	return len(capNames) - 1
})

// capSet is a set of capabilities, one bit each.
type capSet uint64

func (s capSet) names() string {
	var out []string
	for i := range 64 {
		if s&(1<<i) == 0 {
			continue
		}
		if i < len(capNames) {
			out = append(out, "CAP_"+capNames[i])
		} else {
			out = append(out, "capability "+strconv.Itoa(i))
		}
	}
	return strings.Join(out, ", ")
}

// caps are the five sets of a process and what the launching process can give.
type caps struct {
	bounding, effective, inheritable, permitted, ambient capSet

	have capSet // permitted set of the process before it gives anything up
}

// parseCaps reads the five sets. What is no capability that this package knows is left
// out with a warning, as config.md demands (Linux process).
func parseCaps(c *specs.LinuxCapabilities, warn func(string)) *caps {
	var out caps
	if c == nil {
		return &out
	}
	var unknown []string
	for _, set := range []struct {
		to    *capSet
		names []string
	}{
		{&out.bounding, c.Bounding}, {&out.effective, c.Effective}, {&out.inheritable, c.Inheritable},
		{&out.permitted, c.Permitted}, {&out.ambient, c.Ambient},
	} {
		for _, name := range set.names {
			bit, ok := capBit(name)
			if !ok && !slices.Contains(unknown, name) {
				unknown = append(unknown, name)
			}
			*set.to |= bit
		}
	}
	if len(unknown) > 0 {
		warn(fmt.Sprintf("ignoring unknown or unavailable capabilities: %q (names look like CAP_NET_ADMIN)", unknown))
	}
	return &out
}

func capBit(name string) (capSet, bool) {
	short, prefixed := strings.CutPrefix(name, "CAP_")
	for i, n := range capNames {
		if prefixed && n == short {
			return 1 << i, true
		}
	}
	return 0, false
}

// ownPermitted returns the permitted capabilities of the caller.
func ownPermitted() (capSet, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, err
	}
	return capSet(data[0].Permitted) | capSet(data[1].Permitted)<<32, nil
}

// ownBounding returns the bounding capabilities of the caller.
func ownBounding() (s capSet) {
	for i := range lastCap() + 1 {
		if on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(i), 0, 0, 0); err == nil && on == 1 {
			s |= 1 << i
		}
	}
	return s
}

// Has reports whether the caller holds a capability, by its number.
func Has(number int) bool {
	p, err := ownPermitted()
	return err == nil && p&(1<<number) != 0
}

// limit takes away what the caller cannot give. Joining a user namespace gives
// the full set there, so nothing is taken then.
func (c *caps) limit(userNS bool, warn func(string)) error {
	all := capSet(1)<<(lastCap()+1) - 1
	can := all
	c.have = all
	if !userNS {
		permitted, err := ownPermitted()
		if err != nil {
			return err
		}
		can = permitted & ownBounding()
		c.have = permitted
	}
	wanted := c.bounding | c.effective | c.inheritable | c.permitted | c.ambient
	if missing := wanted &^ can; missing != 0 {
		warn("the container does not get " + missing.names() + ": the kernel, or the engine's own rights, do not have it")
	}
	for _, s := range []*capSet{&c.bounding, &c.effective, &c.inheritable, &c.permitted, &c.ambient} {
		*s &= can
	}
	// capset refuses sets that contradict each other; say so by name.
	if extra := c.effective &^ c.permitted; extra != 0 {
		return fault.New(fault.Invalid, "capabilities: %s are effective but not permitted", extra.names())
	}
	// What `runc spec` wrote before 1.2 has ambient capabilities that are not inheritable.
	// The kernel cannot have that, and runc and crun leave them out as well.
	if lost := c.ambient &^ (c.permitted & c.inheritable); lost != 0 {
		warn("can't raise ambient capability " + lost.names() + ": it is not both permitted and inheritable")
		c.ambient &^= lost
	}
	return nil
}

func (c *caps) dropBounding(b *launch.Builder) {
	b.At("drop capabilities from the bounding set", launch.Hint{Errno: syscall.EPERM, Text: "CAP_SETPCAP is needed"})
	for i := range lastCap() + 1 {
		if c.bounding&(1<<i) == 0 {
			b.Prctl(unix.PR_CAPBSET_DROP, launch.Int(i), launch.Int(0), launch.Int(0), launch.Int(0))
		}
	}
}

// regain makes all permitted capabilities effective again after a change of the uid.
func (c *caps) regain(b *launch.Builder) {
	b.At("regain capabilities for the seccomp profile")
	capset(b, c.have, c.have, 0)
}

// apply sets the final sets.
func (c *caps) apply(b *launch.Builder) {
	b.At("set the capabilities")
	capset(b, c.effective, c.permitted, c.inheritable)
	// Dropping a capability from the permitted or inheritable set dropped it from
	// the ambient one, but those that stay may be inherited from the engine.
	b.Prctl(unix.PR_CAP_AMBIENT, launch.Int(unix.PR_CAP_AMBIENT_CLEAR_ALL), launch.Int(0), launch.Int(0), launch.Int(0)).
		Ignore(syscall.EINVAL)
	for i := range lastCap() + 1 {
		if c.ambient&(1<<i) != 0 {
			b.Prctl(unix.PR_CAP_AMBIENT, launch.Int(unix.PR_CAP_AMBIENT_RAISE), launch.Int(i), launch.Int(0), launch.Int(0))
		}
	}
}

func capset(b *launch.Builder, effective, permitted, inheritable capSet) {
	hdr := b.Space(int(unsafe.Sizeof(unix.CapUserHeader{})))
	(*unix.CapUserHeader)(unsafe.Pointer(&hdr.Bytes()[0])).Version = unix.LINUX_CAPABILITY_VERSION_3
	data := b.Space(2 * int(unsafe.Sizeof(unix.CapUserData{})))
	d := (*[2]unix.CapUserData)(unsafe.Pointer(&data.Bytes()[0]))
	for i := range d {
		shift := 32 * i
		d[i] = unix.CapUserData{
			Effective: uint32(effective >> shift), Permitted: uint32(permitted >> shift), Inheritable: uint32(inheritable >> shift),
		}
	}
	b.Call(unix.SYS_CAPSET, hdr.Addr(), data.Addr())
}

// Capabilities lists the names that the kernel and this package know.
func Capabilities() []string {
	list := make([]string, 0, len(capNames))
	for i, name := range capNames {
		if i <= lastCap() {
			list = append(list, "CAP_"+name)
		}
	}
	return list
}

// Overrides reports whether the execve itself may stand on an effective capability of a
// user who is not root: to execute a file that only others may. An execve ends such
// capabilities, that of the trampoline too.
func Overrides(p *specs.Process) bool {
	return p.User.UID != 0 && p.Capabilities != nil && slices.ContainsFunc(p.Capabilities.Effective, func(name string) bool {
		return name == "CAP_DAC_OVERRIDE" || name == "CAP_DAC_READ_SEARCH"
	})
}
