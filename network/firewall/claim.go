package firewall

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// claim makes this process the only daemon of a table in its network namespace,
// until the file is closed or the process ends. Kernels before 6.9 cannot keep the
// table for its owner, and two daemons would put back their own rules in turn for
// ever. Abstract UNIX sockets belong to a network namespace as tables do; a name
// that somebody without root rights has taken is no reason to stay away.
func claim(table string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "claim the nftables table inet %s: %w", table, err)
	}
	f := os.NewFile(uintptr(fd), "claim of "+table)
	name := &unix.SockaddrUnix{Name: "@sampan/table/" + table}
	err = unix.Bind(fd, name)
	if err == nil {
		// Whoever asks reads the credentials and stays in the queue.
		err = unix.Listen(fd, unix.SOMAXCONN)
	} else if err == unix.EADDRINUSE {
		if holder := holderOf(name); holder != 0 {
			f.Close()
			return nil, fault.New(fault.Conflict, "the nftables table inet %s belongs to another running sampand, process %d (give this one its own --bridge)", table, holder)
		}
		return f, nil
	}
	if err != nil {
		f.Close()
		return nil, fault.New(fault.Unavailable, "claim the nftables table inet %s: %w", table, err)
	}
	return f, nil
}

// holderOf returns the process of root's that listens on a name, or 0.
func holderOf(name unix.Sockaddr) int32 {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	if unix.Connect(fd, name) != nil {
		return 0
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid != 0 {
		return 0
	}
	return cred.Pid
}
