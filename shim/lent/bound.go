package lent

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Bound tells whether a socket of a protocol is bound to an address and port.
func Bound(fd int, proto string, host netip.Addr, port uint16) bool {
	want := unix.SOCK_STREAM
	if proto == "udp" {
		want = unix.SOCK_DGRAM
	}
	number, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if typ, typErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || typErr != nil || typ != want || (number == unix.IPPROTO_SCTP) != (proto == "sctp") {
		return false
	}
	sa, _ := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port == int(port) && netip.AddrFrom4(sa.Addr) == host
	case *unix.SockaddrInet6:
		return sa.Port == int(port) && netip.AddrFrom16(sa.Addr) == host
	}
	return false
}

// CloseBound closes the sockets among fds that are bound so, and returns the others.
func CloseBound(fds []int, proto string, host netip.Addr, port uint16) []int {
	kept := fds[:0]
	for _, fd := range fds {
		if Bound(fd, proto, host, port) {
			unix.Close(fd)
		} else {
			kept = append(kept, fd)
		}
	}
	return kept
}

// Target is an address to connect to, with its family.
func Target(a netip.Addr, port uint16) (family int, sa unix.Sockaddr) {
	if a = a.Unmap(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(port), Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
}
