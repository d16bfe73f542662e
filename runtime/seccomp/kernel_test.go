package seccomp

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const childVar = "SAMPAN_SECCOMP_TEST_CHILD"

// TestKernel loads the default profile into a thread of a child process and lets
// the kernel judge real calls.
func TestKernel(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the calls are those of amd64")
	}
	if os.Getenv(childVar) != "" {
		kernelChild(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKernel$", "-test.v")
	cmd.Env = append(os.Environ(), childVar+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestKernel") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func kernelChild(t *testing.T) {
	prog, flags, err := Compile(defaultProfile(t), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the filter stays with this thread, which ends with the process
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		t.Fatalf("the kernel refuses the program: %v", errno)
	}
	for _, tt := range []struct {
		name       string
		nr         uintptr
		a0, a1, a2 uintptr
		want       unix.Errno
	}{
		{"getpid", unix.SYS_GETPID, 0, 0, 0, 0},
		{"unshare", unix.SYS_UNSHARE, unix.CLONE_FS, 0, 0, unix.EPERM},
		{"socket AF_VSOCK", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0, unix.EPERM},
		{"socket AF_ALG", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0, unix.EPERM},
		{"socket with a family out of range", unix.SYS_SOCKET, 0xffff, unix.SOCK_STREAM, 0, unix.EPERM},
		{"socket of an unknown type", unix.SYS_SOCKET, unix.AF_UNIX, 77, 0, unix.EINVAL},
		{"personality", unix.SYS_PERSONALITY, 0xffffffff, 0, 0, 0},
		{"personality 0x0400000", unix.SYS_PERSONALITY, 0x0400000, 0, 0, unix.EPERM},
		{"clone3", unix.SYS_CLONE3, 0, 0, 0, unix.ENOSYS},
		{"a call of the future", 900, 0, 0, 0, unix.ENOSYS},
		{"bpf", unix.SYS_BPF, 0, 0, 0, unix.EPERM},
	} {
		_, _, errno := unix.RawSyscall(tt.nr, tt.a0, tt.a1, tt.a2)
		if errno != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, errno, tt.want)
		}
	}
}
