// Package ahead makes namespaces of a container while its caller makes the rest:
// the kernel needs as long for a network namespace as for all control groups
// together.
package ahead

import (
	goruntime "runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Namespaces belong to a thread, which later clones the first process and is not
// used for anything else again.
type Namespaces struct {
	flags uintptr
	work  chan func()
}

// Make begins to make the network, IPC and UTS namespaces that the
// specification asks for, and returns at once; nil if nothing is gained by it. It
// must end in Do or in Dismiss. It is for a program that launches one
// container: the thread stays until that program ends.
func Make(spec *specs.Spec) *Namespaces {
	if spec.Linux == nil || goruntime.GOMAXPROCS(0) < 2 {
		return nil
	}
	a := &Namespaces{work: make(chan func(), 1)}
	for _, ns := range spec.Linux.Namespaces {
		switch {
		case ns.Type == specs.UserNamespace:
			return nil // it owns the others, so it comes first
		case ns.Path != "":
		case ns.Type == specs.NetworkNamespace:
			a.flags |= unix.CLONE_NEWNET
		case ns.Type == specs.IPCNamespace:
			a.flags |= unix.CLONE_NEWIPC
		case ns.Type == specs.UTSNamespace:
			a.flags |= unix.CLONE_NEWUTS
		}
	}
	if a.flags&unix.CLONE_NEWNET == 0 {
		return nil
	}
	go a.thread()
	return a
}

func (a *Namespaces) thread() {
	goruntime.LockOSThread() // never unlocked: the thread is in other namespaces
	if unix.Unshare(int(a.flags)) != nil {
		a.flags = 0 // the clone tries again, and says what is wrong
	}
	for f := range a.work {
		f()
	}
}

// Dismiss gives up it. A nil one is fine.
func (a *Namespaces) Dismiss() {
	if a != nil {
		close(a.work)
	}
}

// Do calls f, which gets the flags of the namespaces that need not be made any
// more, on the thread that is in them.
func (a *Namespaces) Do(f func(made uintptr)) {
	if a == nil {
		f(0)
		return
	}
	done := make(chan struct{})
	a.work <- func() {
		defer close(done)
		f(a.flags)
	}
	<-done
}
