package portmap

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// explain turns a failed bind into a sentence with its class. Tools written for
// Docker look for "port is already allocated" (a container has it) and "address
// already in use" (another program has it).
func (t *Table) explain(r Request, host netip.Addr, port uint16, err error) error {
	at := netip.AddrPortFrom(host, port)
	what := fmt.Sprintf("publish port %d/%s", r.ContainerPort, r.Proto)
	switch {
	case errors.Is(err, unix.EADDRINUSE) && port == 0:
		return fault.New(fault.Exhausted, "%s: no free host port on %s: %w", what, host, err)
	case errors.Is(err, unix.EADDRINUSE):
		if owner, ok := t.holder(r.Proto, host, port); ok {
			return fault.New(fault.Conflict, "%s: Bind for %s failed: %w to container %s (stop that container, or publish on another host port)", what, at, allocated{}, owner)
		}
		return fault.New(fault.Conflict, "%s: listen %s %s: bind: %w (another program on this host has it, see `ss -lnp`; publish on another host port)", what, r.Proto, at, err)
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fault.New(fault.NotImplemented, "%s: this host's kernel has no %s (load the module sctp, or use tcp or udp): %w", what, r.Proto, err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fault.New(fault.Invalid, "%s: this host has no address %s (see `ip address`): %w", what, host, err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fault.New(fault.Invalid, "%s: this host has no IPv6, so nothing can listen on %s: %w", what, host, err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fault.New(fault.Exhausted, "%s: the daemon has no file descriptor left for %s (raise its limit of open files): %w", what, at, err)
	}
	return fault.New(fault.Unavailable, "%s: bind %s: %w", what, at, err)
}

// allocated is EADDRINUSE for a port of ours, in Docker's words.
type allocated struct{}

func (allocated) Error() string     { return "port is already allocated" }
func (allocated) Is(err error) bool { return err == unix.EADDRINUSE }

// holder finds the container that has the port on an overlapping address.
func (t *Table) holder(proto string, host netip.Addr, port uint16) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, owner := range t.owners {
		same := k.ip == host || (k.ip.Is4() == host.Is4() && (k.ip.IsUnspecified() || host.IsUnspecified()))
		if k.proto == proto && k.port == port && same {
			return owner, true
		}
	}
	return "", false
}
