package privs

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/launch"
)

const (
	lastSignal = 64
	ignore     = 1 // SIG_IGN
	maskSize   = lastSignal / 8
)

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler, flags, restorer, mask uint64
}

// Signals adds the default disposition for every signal that this process ignores,
// and unblocks all: execve resets handlers, but passes on what is ignored or blocked.
// So a supervisor may ignore signals that its container must obey.
func Signals(b *launch.Builder) {
	b.At("reset the signals")
	var zero launch.Memory
	for n := uintptr(1); n <= lastSignal; n++ {
		if n == uintptr(unix.SIGKILL) || n == uintptr(unix.SIGSTOP) {
			continue
		}
		var now sigaction
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, 0, uintptr(unsafe.Pointer(&now)), maskSize, 0, 0)
		if errno != 0 || now.handler != ignore {
			continue
		}
		if zero.Bytes() == nil {
			zero = b.Space(int(unsafe.Sizeof(now)))
		}
		b.Call(unix.SYS_RT_SIGACTION, launch.Word(n), zero.Addr(), launch.Int(0), launch.Int(maskSize))
	}
	b.Call(unix.SYS_RT_SIGPROCMASK, launch.Int(unix.SIG_SETMASK), b.Space(maskSize).Addr(), launch.Int(0), launch.Int(maskSize))
}

// IgnoreSignals makes this process deaf to signals, without the thread that os/signal
// would start for it.
func IgnoreSignals(list ...unix.Signal) {
	action := sigaction{handler: ignore}
	for _, n := range list {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&action)), 0, maskSize, 0, 0)
	}
}
