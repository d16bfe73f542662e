package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/sampan-containers/sampan/box/tool"
)

func nc(c *tool.Call) int {
	o, status, ok := c.Options("lukvzn46w:p:e:s:q:N l=listen u=udp k=keep-open v=verbose w=wait p=port e=exec")
	if !ok {
		return status
	}
	network := "tcp"
	if o.Has('u') {
		network = "udp"
	}
	if o.Has('4') {
		network += "4"
	} else if o.Has('6') {
		network += "6"
	}
	wait, err := strconv.ParseFloat(o.Value('w', "0"), 64)
	if err != nil {
		return c.Misused("%q is not a number of seconds", o.Value('w', ""))
	}
	n := &netcat{c: c, o: o, network: network, wait: time.Duration(wait * float64(time.Second))}
	if o.Has('l') {
		host, port := o.Value('s', ""), o.Value('p', "")
		switch args := o.Args; {
		case len(args) == 1 && port == "":
			port = args[0]
		case len(args) == 2:
			host, port = args[0], args[1]
		}
		if port == "" {
			return c.Misused("needs a port")
		}
		return n.listen(net.JoinHostPort(host, port))
	}
	if len(o.Args) != 2 {
		return c.Misused("needs a host and a port")
	}
	conn, err := net.DialTimeout(network, net.JoinHostPort(o.Args[0], o.Args[1]), n.wait)
	if err != nil {
		return c.Fail("%s", err)
	}
	defer conn.Close()
	if o.Has('v') || o.Has('z') {
		fmt.Fprintf(c.Err, "%s (%s) open\n", o.Args[0], conn.RemoteAddr())
	}
	if o.Has('z') {
		return tool.OK
	}
	return n.serve(conn)
}

type netcat struct {
	c       *tool.Call
	o       *tool.Options
	network string
	wait    time.Duration
}

func (n *netcat) listen(address string) int {
	if n.o.Has('u') {
		pc, err := net.ListenPacket(n.network, address)
		if err != nil {
			return n.c.Fail("%s", err)
		}
		defer pc.Close()
		return n.serve(&packetConn{PacketConn: pc})
	}
	l, err := net.Listen(n.network, address)
	if err != nil {
		return n.c.Fail("%s", err)
	}
	defer l.Close()
	for {
		conn, err := l.Accept()
		if err != nil {
			return n.c.Fail("%s", err)
		}
		if n.o.Has('v') {
			fmt.Fprintf(n.c.Err, "connect from %s\n", conn.RemoteAddr())
		}
		status := n.serve(conn)
		conn.Close()
		if !n.o.Has('k') {
			return status
		}
	}
}

// packetConn talks to whoever sent the first packet.
type packetConn struct {
	net.PacketConn
	peer net.Addr
}

func (p *packetConn) Read(b []byte) (int, error) {
	n, from, err := p.ReadFrom(b)
	if p.peer == nil {
		p.peer = from
	}
	return n, err
}

func (p *packetConn) Write(b []byte) (int, error) {
	if p.peer == nil {
		return len(b), nil
	}
	return p.WriteTo(b, p.peer)
}

func (p *packetConn) RemoteAddr() net.Addr { return p.peer }

// serve copies both ways until the other side has sent all, as the netcats do.
func (n *netcat) serve(conn net.Conn) int {
	if text := n.o.Value('e', ""); text != "" {
		cmd := exec.Command("sh", "-c", text)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = conn, conn, n.c.Err
		if err := cmd.Run(); err != nil {
			return n.c.Fail("%s: %s", text, err)
		}
		return tool.OK
	}
	go func() {
		_, _ = io.Copy(conn, n.c.In) // a connection that ended shows below
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		if n.wait > 0 {
			if err := conn.SetReadDeadline(time.Now().Add(n.wait)); err != nil {
				return n.c.Fail("%s", err)
			}
		}
		k, err := conn.Read(buf)
		if _, werr := n.c.Out.Write(buf[:k]); werr != nil {
			return tool.Failed
		}
		if werr := n.c.Out.Flush(); werr != nil {
			return tool.Failed
		}
		switch {
		case err == nil:
		case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded):
			return tool.OK
		default:
			return n.c.Fail("%s", err)
		}
	}
}
