// Package netdev moves network devices of the caller's network namespace into a
// container's (config-linux.md, netDevices), by rtnetlink. A device keeps its MTU and
// its hardware address, which the kernel sees to, and its permanent addresses of global
// scope, and is up afterwards.
//
// There is no way back: with the namespace a physical device returns to the host, and a
// virtual one ends.
package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// CheckName refuses what the kernel takes for no name of a device, or for a pattern.
func CheckName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/:% \t\n\v\f\r\x00") {
		return fault.New(fault.Invalid, "%.40q is no name of a network device", name)
	}
	return nil
}

// Move moves the device called from into the namespace, where it is called to; empty
// leaves the name. With "%d" in it the kernel finds a number that is free there.
func Move(netns *os.File, from, to string) error {
	if to == "" {
		to = from
	}
	template := strings.Contains(to, "%d")
	for _, name := range []string{from, strings.Replace(to, "%d", "0", 1)} {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	wrap := func(err error) error { return fmt.Errorf("move network device %s into the container: %w", from, err) }
	here, err := dial()
	if err != nil {
		return wrap(err)
	}
	defer here.close()
	index, err := here.link(from)
	if errors.Is(err, unix.ENODEV) {
		return fault.New(fault.Invalid, "move network device %s into the container: the host has no device of that name", from)
	}
	if err != nil {
		return wrap(err)
	}
	addresses, err := here.addresses(index)
	if err != nil {
		return wrap(err)
	}
	there, err := dialIn(netns)
	if err != nil {
		return wrap(err)
	}
	defer there.close()
	before, err := there.links()
	if err != nil {
		return wrap(err)
	}
	// The kernel would move the device first, and only then find the name taken.
	taken := fault.New(fault.Invalid, "move network device %s into the container: there is a device called %s already", from, to)
	if _, err := there.link(to); err == nil && !template {
		return taken
	}
	if err := here.send(index, netns, to); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return taken
		}
		return wrap(err)
	}
	if template {
		index, err = there.newcomer(before)
	} else {
		index, err = there.link(to)
	}
	if err != nil {
		return wrap(err)
	}
	for _, a := range addresses {
		if err := there.addAddress(index, a); err != nil {
			return wrap(fmt.Errorf("give it its address back: %w", err))
		}
	}
	if err := there.up(index); err != nil {
		return wrap(fmt.Errorf("bring it up: %w", err))
	}
	return nil
}

// conn is a netlink socket.
type conn struct {
	fd  int
	seq uint32
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return &conn{fd: fd}, nil
}

// dialIn opens the socket in another namespace. The thread that goes there ends.
func dialIn(netns *os.File) (*conn, error) {
	type result struct {
		c   *conn
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not fit for anybody else
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("enter the network namespace: %w", err)}
			return
		}
		c, err := dial()
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

func (c *conn) close() { unix.Close(c.fd) }

// message builds a request: header, fixed part, attributes.
type message []byte

func (m *message) word(v uint32) { *m = binary.NativeEndian.AppendUint32(*m, v) }

func (m *message) attribute(kind uint16, data []byte) {
	*m = binary.NativeEndian.AppendUint16(*m, uint16(unix.SizeofRtAttr+len(data)))
	*m = binary.NativeEndian.AppendUint16(*m, kind)
	*m = append(*m, data...)
	for len(*m)%unix.NLA_ALIGNTO != 0 {
		*m = append(*m, 0)
	}
}

func cstring(s string) []byte { return append([]byte(s), 0) }

// ifinfo is struct ifinfomsg.
func ifinfo(index int32, flags, change uint32) message {
	m := message{unix.AF_UNSPEC, 0, 0, 0}
	m.word(uint32(index))
	m.word(flags)
	m.word(change)
	return m
}

// maxReply is the largest piece in which the kernel answers a dump.
const maxReply = 64 << 10

// request sends one message and calls each for the body of each answer.
func (c *conn) request(kind uint16, flags uint16, body message, each func(kind uint16, body []byte)) error {
	c.seq++
	var m message
	m.word(uint32(unix.NLMSG_HDRLEN + len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	m.word(c.seq)
	m.word(0)
	if err := unix.Sendto(c.fd, append(m, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, maxReply)
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // not from the kernel
		}
		if done, err := c.answers(buf[:n], each); done {
			return err
		}
	}
}

// answers goes through the messages of one datagram.
func (c *conn) answers(data []byte, each func(kind uint16, body []byte)) (done bool, err error) {
	for len(data) >= unix.NLMSG_HDRLEN {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.NLMSG_HDRLEN || size > len(data) {
			return true, errors.New("the kernel sent a message that is cut off")
		}
		kind := binary.NativeEndian.Uint16(data[4:])
		body := data[unix.NLMSG_HDRLEN:size]
		switch {
		case binary.NativeEndian.Uint32(data[8:]) != c.seq:
		case kind == unix.NLMSG_ERROR || kind == unix.NLMSG_DONE:
			if len(body) >= 4 {
				if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
					return true, unix.Errno(-code)
				}
			}
			return true, nil
		case each != nil:
			each(kind, body)
		}
		data = data[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(data)):]
	}
	return false, nil
}

// link finds a device by its name.
func (c *conn) link(name string) (index int32, err error) {
	m := ifinfo(0, 0, 0)
	m.attribute(unix.IFLA_IFNAME, cstring(name))
	err = c.request(unix.RTM_GETLINK, 0, m, func(kind uint16, body []byte) {
		if kind == unix.RTM_NEWLINK && len(body) >= unix.SizeofIfInfomsg {
			index = int32(binary.NativeEndian.Uint32(body[4:]))
		}
	})
	if err == nil && index == 0 {
		err = unix.ENODEV
	}
	return index, err
}

// links lists the indexes of all devices.
func (c *conn) links() (list []int32, err error) {
	err = c.request(unix.RTM_GETLINK, unix.NLM_F_DUMP, ifinfo(0, 0, 0), func(kind uint16, body []byte) {
		if kind == unix.RTM_NEWLINK && len(body) >= unix.SizeofIfInfomsg {
			list = append(list, int32(binary.NativeEndian.Uint32(body[4:])))
		}
	})
	return list, err
}

// newcomer finds the device that was not there before.
func (c *conn) newcomer(before []int32) (int32, error) {
	now, err := c.links()
	if err != nil {
		return 0, err
	}
	for _, index := range now {
		if !slices.Contains(before, index) {
			return index, nil
		}
	}
	return 0, unix.ENODEV
}

// address is one address of a device: struct ifaddrmsg and the attributes that the new
// one gets as well.
type address struct {
	family, bits byte
	flags        uint32
	attributes   message
}

// addresses lists what a device has that is permanent and of global scope.
func (c *conn) addresses(index int32) (list []address, err error) {
	m := message{unix.AF_UNSPEC, 0, 0, 0}
	m.word(0)
	err = c.request(unix.RTM_GETADDR, unix.NLM_F_DUMP, m, func(kind uint16, body []byte) {
		if kind != unix.RTM_NEWADDR || len(body) < unix.SizeofIfAddrmsg || int32(binary.NativeEndian.Uint32(body[4:])) != index {
			return
		}
		a := address{family: body[0], bits: body[1], flags: uint32(body[2])}
		for rest := body[unix.SizeofIfAddrmsg:]; len(rest) >= unix.SizeofRtAttr; {
			size := int(binary.NativeEndian.Uint16(rest))
			if size < unix.SizeofRtAttr || size > len(rest) {
				break
			}
			value := rest[unix.SizeofRtAttr:size]
			switch kind := binary.NativeEndian.Uint16(rest[2:]); kind {
			case unix.IFA_ADDRESS, unix.IFA_LOCAL, unix.IFA_BROADCAST:
				a.attributes.attribute(kind, value)
			case unix.IFA_FLAGS:
				if len(value) == 4 {
					a.flags = binary.NativeEndian.Uint32(value)
				}
			}
			rest = rest[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(rest)):]
		}
		if a.flags&unix.IFA_F_PERMANENT != 0 && body[3] == unix.RT_SCOPE_UNIVERSE {
			list = append(list, a)
		}
	})
	return list, err
}

func (c *conn) addAddress(index int32, a address) error {
	const keep = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_HOMEADDRESS
	m := message{a.family, a.bits, byte(a.flags & keep), unix.RT_SCOPE_UNIVERSE}
	m.word(uint32(index))
	return c.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(m, a.attributes...), nil)
}

// send moves a device and names it, in one step.
func (c *conn) send(index int32, netns *os.File, name string) error {
	m := ifinfo(index, 0, 0)
	m.attribute(unix.IFLA_IFNAME, cstring(name))
	m.attribute(unix.IFLA_NET_NS_FD, binary.NativeEndian.AppendUint32(nil, uint32(netns.Fd())))
	return c.request(unix.RTM_NEWLINK, 0, m, nil)
}

func (c *conn) up(index int32) error {
	return c.request(unix.RTM_NEWLINK, 0, ifinfo(index, unix.IFF_UP, unix.IFF_UP), nil)
}
