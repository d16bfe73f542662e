package server

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/shim/wire"
)

func contextIn(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func wirePort(i int) wire.Port {
	return wire.Port{Proto: "udp", HostIP: netip.IPv4Unspecified(), HostPort: uint16(20000 + i), ContainerPort: uint16(i)}
}

func splicePort(public, port uint16) wire.Port {
	return wire.Port{Proto: "tcp", HostIP: netip.IPv6Loopback(), HostPort: public, ContainerIP: netip.MustParseAddr("127.0.0.1"), ContainerPort: port, Splice: true}
}

func listenLoopback(t *testing.T, host string) (net.Listener, uint16) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, uint16(l.Addr().(*net.TCPAddr).Port)
}

// boundSocket is a listening socket on [::1], as the network makes it.
func boundSocket(t *testing.T) (*os.File, uint16) {
	t.Helper()
	l, port := listenLoopback(t, "::1")
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	t.Cleanup(func() { f.Close() })
	return f, port
}

func dialLoopback(t *testing.T, port uint16) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort("::1", strconv.Itoa(int(port))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(within))
	return c.(*net.TCPConn)
}
