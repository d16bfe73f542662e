package netns

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

const (
	// loIndex is the index of lo, the first link of every namespace.
	loIndex = 1
	// ipv6Default is what a link made later starts with. lo has been made
	// already and keeps ::1.
	ipv6Default = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
)

// Sandbox is a new namespace with lo up, and a socket to configure it with.
type Sandbox struct {
	File *os.File
	Conn *netlink.Conn
}

// NewSandbox makes a namespace for a container: lo is up, and links made later
// have IPv6 off. The caller closes the Conn when the namespace is configured.
func NewSandbox() (*Sandbox, error) {
	sb := &Sandbox{}
	var err error
	sb.File, err = New(sb.configure)
	if err != nil {
		return nil, err
	}
	return sb, nil
}

// Adopt does the same to a new namespace that somebody else has made. It becomes the
// sandbox's, and is closed after a failure.
func Adopt(ns *os.File) (*Sandbox, error) {
	sb := &Sandbox{File: ns}
	if err := Do(ns, sb.configure); err != nil {
		ns.Close()
		return nil, err
	}
	return sb, nil
}

// Configure is Adopt for a namespace that nothing else is done in.
func Configure(ns *os.File) error {
	sb, err := Adopt(ns)
	if err == nil {
		sb.Conn.Close()
	}
	return err
}

// configure runs in the namespace.
func (sb *Sandbox) configure() error {
	if err := WriteSysctl(ipv6Default, "1"); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	var err error
	if sb.Conn, err = netlink.Open(); err != nil {
		return err
	}
	if err := sb.Conn.Do(netlink.SetUpIndex(loIndex)); err != nil {
		sb.Conn.Close()
		return err
	}
	return nil
}

// OpenSandbox opens a socket in a namespace that exists, to configure it. ns
// stays the caller's.
func OpenSandbox(ns *os.File) (*Sandbox, error) {
	sb := &Sandbox{File: ns}
	err := Do(ns, func() (err error) {
		sb.Conn, err = netlink.Open()
		return err
	})
	return sb, err
}

// WriteSysctl writes a sysctl file of the calling thread's namespace.
func WriteSysctl(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return fmt.Errorf("write %s to %s: %w", value, path, err)
	}
	return nil
}
