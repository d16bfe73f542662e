package network

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

func ip(c *tool.Call) int {
	o, status, ok := c.Options("+46o")
	if !ok {
		return status
	}
	what := "addr"
	if len(o.Args) > 0 {
		what = o.Args[0]
	}
	verb := "show"
	if len(o.Args) > 1 {
		verb = o.Args[1]
	}
	if !strings.HasPrefix("show", verb) && !strings.HasPrefix("list", verb) && verb != "ls" {
		return c.Fail("%s %s: this ip only shows", what, verb)
	}
	switch {
	case strings.HasPrefix("address", what), strings.HasPrefix("link", what):
		return showInterfaces(c, o, strings.HasPrefix("address", what))
	case strings.HasPrefix("route", what):
		return showRoutes(c)
	case strings.HasPrefix("neighbour", what), strings.HasPrefix("neighbor", what):
		return showNeighbours(c)
	}
	return c.Misused("unknown object %q", what)
}

func showInterfaces(c *tool.Call, o *tool.Options, addresses bool) int {
	list, err := net.Interfaces()
	if err != nil {
		return c.Fail("%s", err)
	}
	only := ""
	if n := len(o.Args); n > 2 {
		only = o.Args[n-1]
	}
	for _, dev := range list {
		if only != "" && dev.Name != only {
			continue
		}
		flags := strings.ToUpper(strings.ReplaceAll(dev.Flags.String(), "|", ","))
		fmt.Fprintf(c.Out, "%d: %s: <%s> mtu %d\n", dev.Index, dev.Name, flags, dev.MTU)
		if len(dev.HardwareAddr) > 0 {
			fmt.Fprintf(c.Out, "    link/ether %s\n", dev.HardwareAddr)
		} else {
			fmt.Fprintf(c.Out, "    link/loopback 00:00:00:00:00:00\n")
		}
		if !addresses {
			continue
		}
		addrs, err := dev.Addrs()
		if err != nil {
			c.Fail("%s: %s", dev.Name, err)
		}
		for _, a := range addrs {
			family := "inet"
			if strings.Contains(a.String(), ":") {
				family = "inet6"
			}
			if o.Has('4') && family == "inet6" || o.Has('6') && family == "inet" {
				continue
			}
			fmt.Fprintf(c.Out, "    %s %s\n", family, a)
		}
	}
	return c.Status()
}

// address reads the hexadecimal form of /proc/net/route.
func address(text string) (netip.Addr, uint32) {
	n, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		return netip.Addr{}, 0
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b), binary.BigEndian.Uint32(b[:])
}

func showRoutes(c *tool.Call) int {
	data, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	for i, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if i == 0 || len(f) < 8 {
			continue
		}
		to, _ := address(f[1])
		via, _ := address(f[2])
		_, mask := address(f[7])
		text := fmt.Sprintf("%s/%d", to, bits.OnesCount32(mask))
		if mask == 0 {
			text = "default"
		}
		if !via.IsUnspecified() {
			text += " via " + via.String()
		}
		fmt.Fprintf(c.Out, "%s dev %s\n", text, f[0])
	}
	return tool.OK
}

func showNeighbours(c *tool.Call) int {
	data, err := os.ReadFile("/proc/net/arp")
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	for i, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) >= 6 {
			fmt.Fprintf(c.Out, "%s dev %s lladdr %s\n", f[0], f[5], f[3])
		}
	}
	return tool.OK
}

func nslookup(c *tool.Call) int {
	if len(c.Args) < 1 || len(c.Args) > 2 {
		return c.Misused("needs a name")
	}
	r := &net.Resolver{PreferGo: true}
	if len(c.Args) == 2 {
		server := net.JoinHostPort(c.Args[1], "53")
		fmt.Fprintf(c.Out, "Server:\t%s\n\n", c.Args[1])
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server)
		}
	}
	name := c.Args[0]
	if _, err := netip.ParseAddr(name); err == nil {
		names, err := r.LookupAddr(context.Background(), name)
		if err != nil {
			return c.Fail("%s", err)
		}
		for _, n := range names {
			fmt.Fprintf(c.Out, "%s\tname = %s\n", name, n)
		}
		return tool.OK
	}
	addrs, err := r.LookupHost(context.Background(), name)
	if err != nil {
		return c.Fail("%s", err)
	}
	for _, a := range addrs {
		fmt.Fprintf(c.Out, "Name:\t%s\nAddress: %s\n", name, a)
	}
	return tool.OK
}

const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
	icmpHeader               = 8
)

// pinger uses the kernel's ping sockets, which need no capability where
// net.ipv4.ping_group_range allows the group.
type pinger struct {
	fd      int
	to      netip.Addr
	timeout time.Duration
	size    int
}

func ping(c *tool.Call) int {
	o, status, ok := c.Options("46qc:i:W:w:s:n")
	if !ok {
		return status
	}
	count, err1 := strconv.Atoi(o.Value('c', "-1"))
	interval, err2 := strconv.ParseFloat(o.Value('i', "1"), 64)
	wait, err3 := strconv.ParseFloat(o.Value('W', o.Value('w', "10")), 64)
	size, err4 := strconv.Atoi(o.Value('s', "56"))
	const maxSize = 65000
	if len(o.Args) != 1 || err1 != nil || err2 != nil || err3 != nil || err4 != nil || size < 0 || size > maxSize {
		return c.Misused("needs a host, and numbers for the options")
	}
	network := "ip"
	if o.Has('4') {
		network = "ip4"
	} else if o.Has('6') {
		network = "ip6"
	}
	resolved, err := net.ResolveIPAddr(network, o.Args[0])
	if err != nil {
		return c.Fail("%s", err)
	}
	to, _ := netip.AddrFromSlice(resolved.IP)
	p := &pinger{to: to.Unmap(), timeout: time.Duration(wait * float64(time.Second)), size: size}
	if err := p.open(); err != nil {
		return c.Fail("cannot open a ping socket: %s", err)
	}
	defer unix.Close(p.fd)
	fmt.Fprintf(c.Out, "PING %s (%s): %d data bytes\n", o.Args[0], p.to, size)
	sent, received := 0, 0
	for count < 0 || sent < count {
		if sent > 0 {
			time.Sleep(time.Duration(interval * float64(time.Second)))
		}
		begin := time.Now()
		n, err := p.once(uint16(sent))
		sent++
		switch {
		case err == nil:
			received++
			if !o.Has('q') {
				fmt.Fprintf(c.Out, "%d bytes from %s: seq=%d time=%.3f ms\n", n, p.to, sent-1, float64(time.Since(begin).Microseconds())/1000)
			}
		case err != unix.EAGAIN:
			c.Fail("%s", err)
		}
		if err := c.Out.Flush(); err != nil {
			return tool.Failed
		}
	}
	fmt.Fprintf(c.Out, "\n--- %s ping statistics ---\n%d packets transmitted, %d packets received, %d%% packet loss\n", o.Args[0], sent, received, (sent-received)*100/max(1, sent))
	if received == 0 {
		return tool.Failed
	}
	return tool.OK
}

func (p *pinger) open() (err error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if p.to.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	if p.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protocol); err != nil {
		return err
	}
	tv := unix.NsecToTimeval(max(p.timeout, time.Millisecond).Nanoseconds())
	return unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}

func (p *pinger) once(seq uint16) (int, error) {
	request, reply := byte(echoRequest4), byte(echoReply4)
	var to unix.Sockaddr
	if p.to.Is6() {
		request, reply = echoRequest6, echoReply6
		to = &unix.SockaddrInet6{Addr: p.to.As16()}
	} else {
		to = &unix.SockaddrInet4{Addr: p.to.As4()}
	}
	// The kernel fills in checksum and identifier.
	packet := make([]byte, icmpHeader+p.size)
	packet[0] = request
	binary.BigEndian.PutUint16(packet[6:], seq)
	if err := unix.Sendto(p.fd, packet, 0, to); err != nil {
		return 0, err
	}
	deadline := time.Now().Add(p.timeout)
	for time.Now().Before(deadline) {
		n, _, err := unix.Recvfrom(p.fd, packet, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		if n >= icmpHeader && packet[0] == reply && binary.BigEndian.Uint16(packet[6:]) == seq {
			return n, nil
		}
	}
	return 0, unix.EAGAIN
}
