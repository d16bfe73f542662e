package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sealedName is how a sealed copy of the program is called in /proc.
const sealedName = "sampan-runtime"

const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// SealSelf makes sure that the running program cannot be changed through
// /proc/PID/exe, which a container's process reaches between the clone and its
// execve, or by executing /proc/self/exe (CVE-2019-5736): it executes a sealed copy
// in memory in place of the caller, with the same arguments and environment,
// unless that is what runs already. It must be called first thing in main. A daemon
// that starts many makes the copy once, with SealedCopy.
func SealSelf() error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open the running program: %w", err)
	}
	defer self.Close()
	if isSealed(self) {
		return nil
	}
	copied, err := SealedCopy(self)
	if err != nil {
		return err
	}
	defer copied.Close()
	// By descriptor: /proc may be hidden. The copy is close-on-exec, it lives on as
	// the text of the process.
	return fmt.Errorf("execute the sealed copy of the program: %w", execveat(copied))
}

// SealedCopy copies a program into memory that nobody can write to any more.
func SealedCopy(program *os.File) (*os.File, error) {
	fd, err := unix.MemfdCreate(sealedName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC came with Linux 6.3
		fd, err = unix.MemfdCreate(sealedName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make memory for a copy of the program: %w", err)
	}
	f := os.NewFile(uintptr(fd), sealedName)
	if err := fillSealed(f, program); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy the program into memory: %w", err)
	}
	return f, nil
}

func fillSealed(f, program *os.File) error {
	st, err := program.Stat()
	if err != nil {
		return err
	}
	offset := int64(0)
	for offset < st.Size() {
		n, err := unix.Sendfile(int(f.Fd()), int(program.Fd()), &offset, int(st.Size()-offset))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return err
}

func isSealed(f *os.File) bool {
	has, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	return err == nil && has&seals == seals
}

// execveat replaces the process by the program in f.
func execveat(f *os.File) error {
	argv, err := syscall.SlicePtrFromStrings(os.Args)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	empty, err := unix.BytePtrFromString("")
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, f.Fd(), uintptr(unsafe.Pointer(empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
