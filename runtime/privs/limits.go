package privs

import (
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// rlimits are the names of getrlimit(2) without their prefix.
var rlimits = map[string]int{
	"CPU": unix.RLIMIT_CPU, "FSIZE": unix.RLIMIT_FSIZE, "DATA": unix.RLIMIT_DATA, "STACK": unix.RLIMIT_STACK,
	"CORE": unix.RLIMIT_CORE, "RSS": unix.RLIMIT_RSS, "NPROC": unix.RLIMIT_NPROC, "NOFILE": unix.RLIMIT_NOFILE,
	"MEMLOCK": unix.RLIMIT_MEMLOCK, "AS": unix.RLIMIT_AS, "LOCKS": unix.RLIMIT_LOCKS,
	"SIGPENDING": unix.RLIMIT_SIGPENDING, "MSGQUEUE": unix.RLIMIT_MSGQUEUE, "NICE": unix.RLIMIT_NICE,
	"RTPRIO": unix.RLIMIT_RTPRIO, "RTTIME": unix.RLIMIT_RTTIME,
}

// defaultFiles is the kernel's own soft limit of open files. Go raises that of
// every program to the hard limit, which must not be what containers inherit:
// programs that use select(2) fail with large numbers.
const defaultFiles = 1024

// Rlimits adds the resource limits. A hard limit that the caller may not raise is
// cut to the caller's own, with a warning.
func Rlimits(b *launch.Builder, limits []specs.POSIXRlimit, warn func(string)) error {
	seen := map[int]bool{}
	for _, l := range limits {
		name := strings.TrimPrefix(strings.ToUpper(l.Type), "RLIMIT_")
		number, ok := rlimits[name]
		switch {
		case !ok:
			return fault.New(fault.Invalid, "unknown resource limit %q (names look like RLIMIT_NOFILE)", l.Type)
		case seen[number]:
			return fault.New(fault.Invalid, "resource limit %s is given twice", l.Type)
		case l.Soft > l.Hard:
			return fault.New(fault.Invalid, "resource limit %s: the soft limit %d is above the hard limit %d", l.Type, l.Soft, l.Hard)
		}
		seen[number] = true
		var now unix.Rlimit
		if err := unix.Getrlimit(number, &now); err != nil {
			return fmt.Errorf("read resource limit %s: %w", name, err)
		}
		if l.Hard > now.Max && !mayRaise() {
			warn(fmt.Sprintf("resource limit %s stays at %d instead of %d: raising it needs CAP_SYS_RESOURCE", name, now.Max, l.Hard))
			l.Hard = now.Max
			l.Soft = min(l.Soft, l.Hard)
		}
		setRlimit(b, name, number, l.Soft, l.Hard)
	}
	if !seen[unix.RLIMIT_NOFILE] {
		var now unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
			return fmt.Errorf("read resource limit NOFILE: %w", err)
		}
		setRlimit(b, "NOFILE", unix.RLIMIT_NOFILE, min(defaultFiles, now.Max), now.Max)
	}
	return nil
}

func setRlimit(b *launch.Builder, name string, number int, soft, hard uint64) {
	b.At(fmt.Sprintf("set resource limit %s to %d:%d", name, soft, hard),
		launch.Hint{Errno: syscall.EPERM, Text: "raising the hard limit needs CAP_SYS_RESOURCE, and open files end at fs.nr_open"})
	m := b.Space(int(unsafe.Sizeof(unix.Rlimit{})))
	*(*unix.Rlimit)(unsafe.Pointer(&m.Bytes()[0])) = unix.Rlimit{Cur: soft, Max: hard}
	b.Call(unix.SYS_PRLIMIT64, launch.Int(0), launch.Int(number), m.Addr(), launch.Int(0))
}
