package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canShare tells whether cloneShared exists for this processor.
const canShare = true

// sharedStack is the size of the stack of a child that shares our memory: it runs
// interpret and RawSyscall6, whose frames the linker holds below 800 bytes.
const sharedStack = 8 << 10

// cloneShared is clone3 with a stack in args. The child calls startShared.
//
//go:noescape
func cloneShared(args *cloneArgs, size uintptr, m *machine) (pid, errno uintptr)

// startShared is where such a child begins. It must not touch what belongs to the
// goroutine that waits for it.
//
//lint:ignore U1000 cloneShared calls it
//go:nosplit
//go:norace
func startShared(m *machine) {
	runtimeAfterForkInChild()
	interpret(m)
}

// forkShared is forkAndRun for a child that works in this process's memory until
// its execve, while the thread that cloned it sleeps (CLONE_VM and CLONE_VFORK, as
// package syscall forks). Nothing is copied: neither the page tables nor,
// afterwards, each page that one of the two writes to.
//
//go:noinline
//go:nosplit
//go:norace
func forkShared(m *machine, args *cloneArgs, stack []byte) (pid uintptr, errno syscall.Errno) {
	args.flags |= unix.CLONE_VM | unix.CLONE_VFORK
	args.stack = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(stack))))
	args.stackSize = uint64(len(stack))
	runtimeBeforeFork()
	pid, e := cloneShared(args, unsafe.Sizeof(*args), m)
	runtimeAfterFork()
	return pid, syscall.Errno(e)
}
