package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime"
)

// Between its clone and its execve a container's process runs our program, and a
// container may name /proc/self/exe as an interpreter, so whoever sees such a
// process can open our binary on the host and write to it (CVE-2019-5736). So the
// program executes itself again from a detached overlay mount that has no layer to
// write to: nothing in a container can make that writable. This costs a tenth of
// what a sealed copy in memory does, which is the fall-back.
//
// It is needed where a process of the container can look: exec; create, whose
// process waits while an exec may come; and run in a PID namespace that has other
// members. A new PID namespace is empty until our process has executed the
// container's program, and the record, without which exec finds no container, is
// locked until then.

// alone reports whether the container's first process is the only one in its PID
// namespace.
func alone(s *specs.Spec) bool {
	if s.Linux == nil {
		return false
	}
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.PIDNamespace {
			return ns.Path == ""
		}
	}
	return false
}

// seal returns when the program runs from where it cannot be written to. Otherwise
// it executes it from there, and does not return.
func seal() error {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil {
		return fmt.Errorf("find the running program: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(self, &fs); err != nil {
		return fmt.Errorf("find the running program: %w", err)
	}
	// A path in a detached mount has no directories above the mount's root.
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC && fs.Flags&unix.ST_RDONLY != 0 && filepath.Dir(path) == "/" {
		return nil
	}
	if fd, err := overlaid(path); err == nil {
		err = execute(fd)
		unix.Close(fd)
		if !errors.Is(err, unix.ENOEXEC) && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("execute the read-only program: %w", err)
		}
	}
	return runtime.SealSelf()
}

// overlaid opens the program through an overlay of its directory. An overlay without
// an upper layer wants two lower ones; the second is one that every machine has,
// and what is in it does not matter.
func overlaid(path string) (int, error) {
	const other = "/sys"
	dir, name := filepath.Split(path)
	// The binary may have been replaced since; then the link says "(deleted)".
	if dir == "/" || strings.HasPrefix(dir, other) || strings.ContainsAny(dir, `:\,`) {
		return -1, unix.EINVAL
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "lowerdir", filepath.Clean(dir)+":"+other); err != nil {
		return -1, err
	}
	if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, err
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, name, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	// What is executed must be what runs, not what somebody put in its place.
	var ours, theirs unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &ours); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := unix.Fstat(fd, &theirs); err != nil || ours.Ino != theirs.Ino || ours.Size != theirs.Size || ours.Mtim != theirs.Mtim {
		unix.Close(fd)
		return -1, errors.Join(err, unix.ESTALE)
	}
	return fd, nil
}

// execute replaces the process by the program in fd, with the same arguments.
func execute(fd int) error {
	argv, err := syscall.SlicePtrFromStrings(os.Args)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	empty := [1]byte{}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
