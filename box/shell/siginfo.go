package shell

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidOf reads si_pid, which x/sys keeps in padding: it follows signo, errno and
// code, at the alignment of a pointer.
func pidOf(info *unix.Siginfo) int {
	const at = 12 + unsafe.Sizeof(uintptr(0)) - 4
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), at)))
}
