package server

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/shim/handle"
)

// udpSocket is a socket on 127.0.0.1, and its address.
func udpSocket(t *testing.T) (*os.File, net.Addr) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	return f, c.LocalAddr()
}

// What is lent to the daemon survives it: a datagram that came while none was
// there is read by the next, from the same socket.
func TestKeptSocketsOutliveTheDaemon(t *testing.T) {
	r := plain(t, "sleep", "1000")
	atStart, addr := udpSocket(t)
	r.start.Kept = []handle.Kept{{Name: "dns-udp", File: atStart}}
	r.mustBegin(newSpawner(t))
	atStart.Close()
	later, laterAddr := udpSocket(t)
	if err := r.shim.Keep(context.Background(), "later", later); err != nil {
		t.Fatal(err)
	}
	later.Close()

	for name, to := range map[string]net.Addr{"dns-udp": addr, "later": laterAddr} {
		c, err := net.Dial("udp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte(name))
		c.Close()
		ctx, cancel := contextIn(within)
		next, err := handle.Connect(ctx, r.start.Config.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		f, err := next.Kept(ctx, name)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.FilePacketConn(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		conn.SetReadDeadline(time.Now().Add(within))
		buf := make([]byte, 64)
		if n, _, err := conn.ReadFrom(buf); string(buf[:n]) != name {
			t.Errorf("%s: read %q, %v", name, buf[:n], err)
		}
		conn.Close()
		next.Close()
	}
	if err := r.shim.Forget(context.Background(), "later"); err != nil {
		t.Fatal(err)
	}
	if f, err := r.shim.Kept(context.Background(), "later"); err == nil {
		f.Close()
		t.Error("a forgotten socket is still there")
	}
}
