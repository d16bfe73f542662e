package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/privs"
)

// sealedName is how a sealed copy of the program is called in /proc.
const sealedName = "sampan-runtime"

const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// Our own binary must not be writable from inside of a container (CVE-2019-5736).
// Two moments lead to it:
//
// The execve. A container may name /proc/self/exe as its program, or as the
// interpreter of a script, and that is what the process was before. Launch goes by
// launch.Trampoline then, if the program that calls it was not sealed.
//
// The time before it. Whoever sees a process that still is a clone of ours in /proc
// can open its program. In a new PID namespace there is nobody until the execve; but
// exec, a container that is held before its execve and a PID namespace that is
// joined or the host's need a program that was sealed as a whole: SealSelf, or one
// copy for many processes by SealedCopy.

// NeedsSeal reports whether only a sealed program may launch the container; hold is
// that of LaunchSpec. The trampoline covers the rest, unless it would change what the
// container's program gets: a label for the next execve, a filter that may not let the
// trampoline's own system calls pass, a hook that is executed before it, a right to
// files that an execve takes from a user who is not root.
func NeedsSeal(s *specs.Spec, hold bool) bool {
	if weak.Off("seal") {
		return false
	}
	if hold || s.Linux == nil || s.Process == nil {
		return true
	}
	alone := slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.PIDNamespace && ns.Path == ""
	})
	return !alone || s.Process.ApparmorProfile != "" || s.Process.SelinuxLabel != "" ||
		s.Hooks != nil && len(s.Hooks.StartContainer) > 0 || privs.Overrides(s.Process) ||
		!lets(s.Linux.Seccomp, "execveat", "fcntl", "write", "exit_group")
}

// lets reports whether a profile lets system calls pass, whatever their arguments. In
// doubt it does not.
func lets(p *specs.LinuxSeccomp, calls ...string) bool {
	if p == nil {
		return true
	}
	passes := func(a specs.LinuxSeccompAction) bool { return a == specs.ActAllow || a == specs.ActLog }
	for _, call := range calls {
		ok := passes(p.DefaultAction)
		for _, rule := range p.Syscalls {
			if !slices.Contains(rule.Names, call) {
				continue
			}
			if !passes(rule.Action) {
				return false
			}
			ok = ok || len(rule.Args) == 0
		}
		if !ok {
			return false
		}
	}
	return true
}

// openTrampoline makes the trampoline if the program needs one.
func (l *launcher) openTrampoline() error {
	if NeedsSeal(l.spec, l.s.Hold) || weak.Off("seal") || l.ns.joins(unix.CLONE_NEWPID) {
		return nil
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open the running program: %w", err)
	}
	defer self.Close()
	if isSealed(self) {
		return nil
	}
	if l.bounce, err = launch.NewTrampoline(); err != nil {
		return err
	}
	l.until = append(l.until, l.keep(l.bounce.File()))
	return nil
}

// SealSelf executes the same program once more, with the same arguments and
// environment, from where nobody can write to it: through a read-only overlay that is
// mounted nowhere, or where that is impossible a sealed copy in memory. It returns at
// once if that is what runs already.
func SealSelf() error {
	if weak.Off("seal") {
		return nil
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open the running program: %w", err)
	}
	defer self.Close()
	if isSealed(self) {
		return nil
	}
	sealed, err := throughOverlay(self)
	if err != nil {
		sealed, err = SealedCopy(self)
	}
	if err != nil {
		return err
	}
	defer sealed.Close()
	// By descriptor: neither has a path. It is close-on-exec and lives on as the text
	// of the process.
	return fmt.Errorf("execute the sealed program: %w", execveat(sealed))
}

// throughOverlay opens the program through an overlay without an upper layer, whose
// super block can only be read. That takes 0.2 ms where a copy takes 2, and shares the
// program's pages with every other process that runs it.
func throughOverlay(program *os.File) (*os.File, error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	dir, name := filepath.Split(path)
	// An overlay without an upper layer needs two others.
	second, err := mountapi.New("tmpfs", unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, err
	}
	defer second.Close()
	overlay, err := mountapi.Overlay{Lower: []string{
		filepath.Clean(dir), fmt.Sprintf("/proc/self/fd/%d", second.Fd()),
	}}.Mount()
	if err != nil {
		return nil, err
	}
	defer overlay.Close()
	fd, err := unix.Openat(int(overlay.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	// The path may mean another file by now.
	want, err1 := program.Stat()
	got, err2 := f.Stat()
	if err1 != nil || err2 != nil || got.Size() != want.Size() || !got.ModTime().Equal(want.ModTime()) || !isSealed(f) {
		f.Close()
		return nil, errors.New("the program was replaced")
	}
	return f, nil
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

// isSealed reports whether nobody can write to the file: a sealed memfd, or a file of
// an overlay whose mount is not part of a tree (then its path has one element).
func isSealed(f *os.File) bool {
	if has, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err == nil {
		return has&seals == seals
	}
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil || st.Type != unix.OVERLAYFS_SUPER_MAGIC || st.Flags&unix.ST_RDONLY == 0 {
		return false
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return err == nil && strings.Count(path, "/") == 1
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
