// Package launch runs a list of system calls in a child of the calling process.
//
// # Why
//
// To become a container, a process must call clone, setns, mount, chroot, capset
// and some two hundred others in one exact order, and several of them work only
// in a single-threaded process. A Go program has threads, and its runtime does
// not survive a fork. The usual way out is a second program that prepares itself
// before its Go runtime starts, or C. Here the parent compiles what must happen
// into a Program: a flat array of operations whose arguments are numbers,
// pointers into memory that the Program owns, or slots (registers) that hold the
// results of earlier operations, such as descriptors. The child is a copy-on-write
// clone that does nothing but interpret that array until an execve succeeds.
// Package syscall forks in the same way; the same three hooks of the Go runtime
// are used.
//
// # The two sides
//
// builder.go, calls.go   parent: what to do      (Builder, Program)
// clone.go, report.go    parent: start, listen   (Program.Start, Child)
// child.go               child:  the interpreter; no allocation, no stack growth,
// no locks, no Go runtime
// trampoline*            child:  a last step of its own, for a program that is not sealed
//
// # The report socket
//
// Child and parent share a SOCK_SEQPACKET pair. A failed operation is reported as
// {number of the operation, errno}, and the parent turns that into a sentence
// with the help of the Site that was current when the operation was added. The
// socket is close-on-exec: its end without a failure means that execve succeeded.
// A process that is already visible to a container can be traced by it, so
// everything that arrives is bounded and checked like any other foreign input.
//
// Limits: 251 slots, 65,535 operations; amd64 and arm64.
package launch
