//go:build !amd64

package launch

import "syscall"

// canShare: see shared_amd64.go.
const canShare = false

const sharedStack = 0

func forkShared(m *machine, args *cloneArgs, _ []byte) (pid uintptr, errno syscall.Errno) {
	return forkAndRun(m, args)
}
