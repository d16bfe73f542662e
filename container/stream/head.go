package stream

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the wait for a client to take the head of its answer.
const (
	headTries = 50
	headPause = 200 * time.Microsecond
)

// HeadTaken waits, for at most some ten milliseconds, until the client has read
// what was sent to it, and tells whether it did. A client whose HTTP library
// reads the head through a buffer of its own, as Python's does, and then goes on
// with the bare socket, would lose what comes together with the head.
func HeadTaken(ctx context.Context, conn *os.File) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	for range headTries {
		waiting := 0
		var asked error
		err := raw.Control(func(fd uintptr) { waiting, asked = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err != nil || asked != nil {
			return false
		}
		if waiting == 0 {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		time.Sleep(headPause)
	}
	return false
}
