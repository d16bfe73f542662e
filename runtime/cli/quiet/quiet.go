// Package quiet makes the Go runtime of a short-lived program less busy with itself.
package quiet

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// Watcher slows down the thread by which the Go runtime watches all others. It wakes up
// every 20 µs, and takes a processor away from each thread that it finds in a
// system call to start another one for it: the command line is a chain of system
// calls, goes from thread to thread by that, and spends a tenth of its time so. With
// a timer slack (prctl(2)) of some milliseconds the watching happens at the pace at
// which it is of use here.
//
// The watcher is the first thread that the runtime starts. Where that is not so, or may
// not be set, nothing is gained and nothing lost.
func Watcher() {
	const slack = "4000000" // nanoseconds
	fd, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Getdents(fd, buf[:])
	if err != nil || n <= 0 {
		return
	}
	_, _, threads := unix.ParseDirent(buf[:n], -1, nil)
	if len(threads) < 2 || threads[0] != strconv.Itoa(unix.Getpid()) {
		return
	}
	f, err := unix.Open("/proc/"+threads[1]+"/timerslack_ns", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(f, []byte(slack))
	unix.Close(f)
}
