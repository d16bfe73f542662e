package dns

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/firewall"
	"github.com/sampan-containers/sampan/network/netns"
)

// Address is where a container finds the resolver.
var Address = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// backlog is how many TCP connections wait while no daemon accepts them.
const backlog = 128

// Open makes the sockets of a container in its namespace and has port 53 of
// Address redirected to them. They are not on port 53 themselves, so that a
// container may serve 0.0.0.0:53.
func Open(ns *os.File) (Sockets, error) {
	var s Sockets
	err := netns.Do(ns, func() error {
		udp, err := bind(unix.SOCK_DGRAM)
		if err != nil {
			return err
		}
		s.UDP = os.NewFile(uintptr(udp), "dns-udp")
		tcp, err := bind(unix.SOCK_STREAM)
		if err != nil {
			return err
		}
		s.TCP = os.NewFile(uintptr(tcp), "dns-tcp")
		if err := unix.Listen(tcp, backlog); err != nil {
			return fmt.Errorf("listen on %s: %w", Address, err)
		}
		ports := [2]uint16{}
		for i, fd := range []int{udp, tcp} {
			name, err := unix.Getsockname(fd)
			if err != nil {
				return fmt.Errorf("name of a socket on %s: %w", Address, err)
			}
			in, ok := name.(*unix.SockaddrInet4)
			if !ok {
				return unix.EAFNOSUPPORT
			}
			ports[i] = uint16(in.Port)
		}
		return firewall.RedirectResolver(Address, ports[0], ports[1])
	})
	if err != nil {
		s.Close()
		return Sockets{}, fmt.Errorf("make the resolver of a container: %w", err)
	}
	return s, nil
}

// bind opens a socket on a free port of Address. Non-blocking, for the poller.
func bind(typ int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: Address.As4()}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind a socket to %s: %w", Address, err)
	}
	return fd, nil
}

// siocgskns asks a socket for its network namespace (SIOCGSKNS, Linux 4.9).
const siocgskns = 0x894C

// namespace returns the network namespace of a socket.
func namespace(conn syscall.RawConn) (*os.File, error) {
	var ns *os.File
	var failed error
	err := conn.Control(func(fd uintptr) {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, siocgskns, 0)
		if errno != 0 {
			failed = fmt.Errorf("namespace of a socket: %w", errno)
			return
		}
		unix.CloseOnExec(int(n))
		ns = os.NewFile(n, "netns")
	})
	if err != nil {
		return nil, err
	}
	return ns, failed
}
