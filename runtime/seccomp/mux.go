package seccomp

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// On 32-bit x86, sockets and System V IPC are reached in two ways: by a call each,
// and through socketcall and ipc, whose first argument says which one is meant. A
// rule for "socket" has to cover both, or a profile that denies it is bypassed
// by int 0x80. The arguments of the bundled call lie behind a pointer and cannot
// be looked at: a rule with conditions covers the bundled form without them
// when it denies, and not at all when it allows. A profile that
// allows socketcall itself gives up the filter for sockets of 32-bit programs.

// bundled says which first argument of socketcall or ipc stands for a call.
func bundled(name string) (call string, number uint8, ok bool) {
	for i, n := range socketCalls {
		if n == name {
			return "socketcall", uint8(i + 1), true
		}
	}
	for i, n := range ipcCalls {
		if n == name && n != "" {
			return "ipc", uint8(i), true
		}
	}
	return "", 0, false
}

// socketCalls are in the order of SYS_SOCKET = 1 … in linux/net.h.
var socketCalls = [...]string{
	"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv",
	"sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
}

// ipcCalls have the numbers of linux/ipc.h.
var ipcCalls = [...]string{
	1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop",
	11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
	21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
}

// muxed returns the call that bundles another one, and the first argument that
// stands for it, if the rule shall cover that form.
func (r *rule) muxed(name string) (call string, number uint8, ok bool) {
	call, number, ok = bundled(name)
	if !ok || len(r.when) > 0 && strictness(r.action) > unix.SECCOMP_RET_USER_NOTIF {
		return "", 0, false
	}
	return call, number, true
}

// muxMask leaves out the version in the upper half of ipc's first argument. The
// numbers of socketcall are small, so that it does no harm there: the kernel
// refuses larger ones.
const muxMask = 0xffff

func muxCondition(number uint8) condition {
	return condition{op: specs.OpMaskedEqual, mask: muxMask, value: uint64(number)}
}
