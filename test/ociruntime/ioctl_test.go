package ociruntime

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl calls with the address of a structure.
func ioctl(f *os.File, request uintptr, data []byte) unix.Errno {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&data[0])))
		if errno != unix.EINTR {
			return errno
		}
	}
}
