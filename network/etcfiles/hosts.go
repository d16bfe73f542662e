// Package etcfiles writes the contents of a container's /etc/hosts,
// /etc/hostname and /etc/resolv.conf. It returns bytes and touches no file of a
// container; the host's own files are read with a limit.
package etcfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// HostGateway in --add-host stands for the host's address as containers see it.
const HostGateway = "host-gateway"

const (
	// maxFile bounds the host files that are read.
	maxFile = 1 << 20
	// maxName is the longest host name (RFC 1035).
	maxName = 253
)

// The entries every container's hosts file starts with.
const localHosts = "127.0.0.1\tlocalhost\n" +
	"::1\tlocalhost ip6-localhost ip6-loopback\n" +
	"fe00::\tip6-localnet\n" +
	"ff00::\tip6-mcastprefix\n" +
	"ff02::1\tip6-allnodes\n" +
	"ff02::2\tip6-allrouters\n"

// Hosts describes a hosts file.
type Hosts struct {
	Hostname, Domainname string
	IPs                  []netip.Addr
	Extra                []string // "name:address"
	Gateway              []netip.Addr
	Base                 []byte // replaces the usual first entries (host network)
}

// Build returns the file. A bad entry is fault.Invalid and named.
func (h Hosts) Build() ([]byte, error) {
	var b bytes.Buffer
	if h.Base != nil {
		b.Write(h.Base)
		if len(h.Base) > 0 && h.Base[len(h.Base)-1] != '\n' {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString(localHosts)
	}
	for _, e := range h.Extra {
		name, addrs, err := h.extra(e)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			fmt.Fprintf(&b, "%s\t%s\n", a, name)
		}
	}
	if names := h.names(); names != "" {
		for _, ip := range h.IPs {
			fmt.Fprintf(&b, "%s\t%s\n", ip, names)
		}
	}
	return b.Bytes(), nil
}

// names returns "web.example.org web" for a qualified name, else "web".
func (h Hosts) names() string {
	full := h.Hostname
	if h.Domainname != "" {
		full += "." + h.Domainname
	}
	if !validName(full) {
		return ""
	}
	if short, _, qualified := strings.Cut(full, "."); qualified && short != "" {
		return full + " " + short
	}
	return full
}

func (h Hosts) extra(entry string) (string, []netip.Addr, error) {
	name, value, ok := strings.Cut(entry, ":")
	if n, v, eq := strings.Cut(entry, "="); eq && (!ok || len(n) < len(name)) {
		name, value, ok = n, v, true
	}
	if !ok || !validName(name) {
		return "", nil, fault.New(fault.Invalid, "bad format for add-host: %q (write it as NAME:ADDRESS)", entry)
	}
	if value == HostGateway {
		if len(h.Gateway) == 0 {
			return "", nil, fault.New(fault.Invalid, "add-host %s: the address of the host is not known without a default bridge (give the daemon --host-gateway-ip)", entry)
		}
		return name, h.Gateway, nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(value, "["), "]"))
	if err != nil {
		return "", nil, fault.New(fault.Invalid, "invalid IP address in add-host: %q (write it as NAME:ADDRESS)", value)
	}
	return name, []netip.Addr{a}, nil
}

// validName keeps a name from ending its line or field. It is no DNS check:
// names with underscores are in use.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '#' || r == 0x7f })
}

// ReadHost reads a file of the host, at most 1 MiB; a missing one is empty.
func ReadHost(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		return nil, fault.New(fault.Invalid, "%s is longer than 1 MiB", path)
	}
	return b, err
}
