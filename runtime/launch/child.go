package launch

import (
	"syscall"
	"unsafe"
)

// The hooks by which package syscall forks; the runtime publishes them under
// these names for programs that fork themselves.

//go:linkname runtimeBeforeFork syscall.runtime_BeforeFork
func runtimeBeforeFork()

//go:linkname runtimeAfterFork syscall.runtime_AfterFork
func runtimeAfterFork()

//go:linkname runtimeAfterForkInChild syscall.runtime_AfterForkInChild
func runtimeAfterForkInChild()

// machine is all that the child needs. It holds no Go pointer, so that writing to
// it involves no write barrier.
type machine struct {
	ops    uintptr // address of the first op
	slots  [lastSlot + 1]uintptr
	record [recordWords]uint32
}

// cloneArgs is struct clone_args of clone3(2), the part up to Linux 5.7.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// forkAndRun clones the process. The parent gets the child's pid; the child never
// returns. From runtimeBeforeFork on, neither may grow its stack, allocate or
// be preempted, hence nosplit.
//
//go:noinline
//go:nosplit
//go:norace
func forkAndRun(m *machine, args *cloneArgs) (pid uintptr, errno syscall.Errno) {
	runtimeBeforeFork()
	pid, _, errno = syscall.RawSyscall6(sysClone3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		runtimeAfterFork()
		return pid, errno
	}
	runtimeAfterForkInChild()
	interpret(m)
	return 0, 0 // not reached
}

// interpret runs the program. It ends in a successful execve or in exit.
//
// The process is a copy-on-write copy with one thread. No other Go function may
// be called from here than RawSyscall6: no allocation, no lock, no stack growth.
//
//go:noinline
//go:nosplit
//go:norace
//go:nocheckptr
func interpret(m *machine) {
	pc := uintptr(0)
	for {
		o := opAt(m.ops + pc*unsafe.Sizeof(op{}))
		a := o.args
		for i := range a {
			if o.mask&(1<<i) != 0 {
				a[i] = m.slots[uint8(a[i])]
			}
		}
		next := pc + 1
		switch o.kind {
		case opCall:
			r, _, e := syscall.RawSyscall6(uintptr(o.nr), a[0], a[1], a[2], a[3], a[4], a[5])
			switch {
			case e == 0:
				if o.out != none {
					m.slots[o.out] = r
				}
			case e == syscall.EINTR && uintptr(o.nr) != syscall.SYS_CLOSE:
				next = pc
			case o.allow[0] == anyErrno, uint16(e) == o.allow[0], uint16(e) == o.allow[1]:
				m.slots[Errno] = uintptr(e)
				next = uintptr(o.target)
			default:
				die(m, pc, uintptr(e), uintptr(o.nr))
			}
		case opGoto:
			next = uintptr(o.target)
		case opIfZero:
			if a[0] == 0 {
				next = uintptr(o.target)
			}
		case opIfNot:
			if a[0] != a[1] {
				next = uintptr(o.target)
			}
		case opSet:
			m.slots[o.out] = a[0]
		case opLoad:
			m.slots[o.out] = uintptr(*wordAt(a[0])) & a[1]
		case opStore:
			*wordAt(a[0]) = uint32(a[1])
		case opFail:
			die(m, pc, a[0], 0)
		case opExit:
			exit(a[0])
		}
		pc = next
	}
}

// opAt and wordAt turn addresses into pointers. What they point to is kept alive by
// the Program in the parent; the child has no garbage collector.
//
//go:nosplit
//go:norace
func opAt(addr uintptr) *op { return *(**op)(unsafe.Pointer(&addr)) }

//go:nosplit
//go:norace
func wordAt(addr uintptr) *uint32 { return *(**uint32)(unsafe.Pointer(&addr)) }

// die reports the failed operation and ends the process.
//
//go:nosplit
//go:norace
func die(m *machine, pc, errno, nr uintptr) {
	m.record[0] = uint32(Failed)
	m.record[1] = uint32(pc)
	m.record[2] = uint32(errno)
	m.record[3] = uint32(nr)
	// write, not sendmsg: the most likely call to be allowed by a seccomp filter.
	syscall.RawSyscall6(syscall.SYS_WRITE, m.slots[Report], uintptr(unsafe.Pointer(&m.record)), recordSize, 0, 0, 0)
	exit(failStatus)
}

// failStatus is the exit status of a child that reported a failure.
const failStatus = 127

//go:nosplit
//go:norace
func exit(status uintptr) {
	for {
		syscall.RawSyscall6(syscall.SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0)
	}
}
