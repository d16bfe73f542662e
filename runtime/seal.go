package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// sealedName is how a sealed copy of the program is called in /proc.
const sealedName = "sampan-runtime"

const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// SealSelf makes sure that the running program cannot be changed through
// /proc/PID/exe, which a container's process reaches between the clone and its
// execve, or by executing /proc/self/exe (CVE-2019-5736): in place of the caller it
// executes the same file through a read-only overlay that is mounted nowhere, or where
// that is impossible a sealed copy in memory, with the same arguments and environment.
// It returns at once if that is what runs already. It must be called first thing in
// main. A daemon that starts many makes one copy for all, with SealedCopy.
func SealSelf() error {
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
