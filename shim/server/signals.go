package server

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ignoreSignals keeps whoever ends process groups or services, a service manager
// above all, from taking the container with the shim: only SIGKILL does that. The
// container's processes do not inherit it (privs.Signals). Not by os/signal, which
// starts a thread for it.
func ignoreSignals() {
	action := struct{ handler, flags, restorer, mask uint64 }{handler: 1} // SIG_IGN
	for _, n := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT} {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
	}
}
