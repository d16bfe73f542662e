package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/network/netns"
)

// word is what a server of Serve says.
const word = "hello"

// unanswered is how long a connection is given that nobody answers.
const unanswered = 400 * time.Millisecond

// Place is a network namespace, where connections begin and end: the lab's own, a
// container's or another machine's.
type Place struct{ ns *os.File }

// Here is the lab's own namespace. That of the process would be its first thread's,
// which may be somewhere else for another goroutine's Do.
func Here(t testing.TB) Place { return At(t, "thread-self") }

// Inside is the namespace of a running container.
func (d *Daemon) Inside(name string) Place {
	d.t.Helper()
	return At(d.t, d.Sampan("inspect", "-f", "{{.State.Pid}}", name).Must(d.t))
}

// Place is the other machine's namespace.
func (o *Other) Place(t testing.TB) Place {
	t.Helper()
	return open(t, fmt.Sprintf("/proc/self/fd/%d", int(o.ns)))
}

// At is the namespace of a process.
func At(t testing.TB, pid string) Place {
	t.Helper()
	return open(t, "/proc/"+pid+"/ns/net")
}

func open(t testing.TB, path string) Place {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return Place{f}
}

// Do runs f on a thread that is in the place. What f starts is not.
func (p Place) Do(f func() error) error { return netns.Do(p.ns, f) }

// Run runs a command in the place.
func (p Place) Run(t testing.TB, argv ...string) Result {
	t.Helper()
	var r Result
	if err := p.Do(func() error { r = Run(t, nil, argv...); return nil }); err != nil {
		t.Fatal(err)
	}
	return r
}

// Serve says a word to each TCP connection to the port, and to each UDP datagram,
// until the test ends.
func (p Place) Serve(t testing.TB, port int) {
	t.Helper()
	address := fmt.Sprintf(":%d", port)
	err := p.Do(func() error {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		pc, err := net.ListenPacket("udp", address)
		if err != nil {
			return errors.Join(err, ln.Close())
		}
		t.Cleanup(func() { ln.Close(); pc.Close() })
		go sayToConnections(ln)
		go sayToDatagrams(pc)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sayToConnections(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, word)
		c.Close()
	}
}

func sayToDatagrams(pc net.PacketConn) {
	buf := make([]byte, 64)
	for {
		_, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = pc.WriteTo([]byte(word), from)
	}
}

// Asks tells whether a server of Serve answers from there: proto is tcp or udp.
func (p Place) Asks(proto string, to netip.AddrPort) (ok bool) {
	_ = p.Do(func() error {
		c, err := net.DialTimeout(proto, to.String(), unanswered)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(unanswered))
		if strings.HasPrefix(proto, "udp") {
			_, _ = c.Write([]byte("?"))
		}
		said, _ := io.ReadAll(io.LimitReader(c, int64(len(word))))
		ok = string(said) == word
		return nil
	})
	return ok
}
