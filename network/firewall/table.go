// Package firewall owns Sampan's nftables table: translation of published
// ports, masquerading, and the filter that keeps everything else away from the
// containers. There is one table per daemon, named after its default bridge, so
// that daemons side by side never touch each other's rules. Its rules are always
// the same; networks and published ports are elements of sets and maps: adding
// one costs the same with ten or ten thousand, and so does a packet.
//
// Where the kernel can (6.9), the table is owned by our socket and persistent:
// `nft flush ruleset` of others skips it, it outlives the daemon, and the next
// one takes it over. On older kernels, and for rules in other tables, a watcher
// notices changes and puts back what is missing.
//
// The admin's own rules go into the table inet sampan-user, which Sampan makes
// and never changes: see user.go.
package firewall

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/netlink"
)

// Config describes the table.
type Config struct {
	Name string // see TableName
	// Off keeps every rule out of the kernel, and takes away what an earlier daemon
	// left (--iptables=false). The name is claimed all the same: it keeps two daemons
	// from one bridge.
	Off bool
	Log *slog.Logger
}

// Table is the table in the kernel. It is safe for concurrent use.
type Table struct {
	mu       sync.Mutex
	cfg      Config
	name     string
	conn     *netlink.Conn // the owner of the table: open as long as the Table is
	claim    *os.File
	networks map[string]Network // by bridge
	ports    map[Mapping]struct{}
	flags    []uint32 // to try
	owned    bool

	foreign foreign
	watch   *watcher
}

// TableName returns the name of the table of a daemon with a default bridge.
func TableName(bridge string) string {
	if strings.HasPrefix(bridge, "sampan") {
		return bridge
	}
	return "sampan-" + bridge
}

// Open makes the table with the networks and ports already in it, in one
// transaction: when an earlier daemon left one, packets see the old rules or the
// new ones and never none, and connections keep their translation.
// fault.Conflict when another daemon owns the table.
func Open(cfg Config, networks []Network, ports []Mapping) (*Table, error) {
	return open(cfg, networks, ports, []uint32{tableOwner | tablePersist, 0})
}

// open tries the table flags in order.
func open(cfg Config, networks []Network, ports []Mapping, flags []uint32) (*Table, error) {
	conn, err := netlink.OpenFamily(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	t := &Table{cfg: cfg, name: cfg.Name, conn: conn, flags: flags, networks: map[string]Network{}, ports: map[Mapping]struct{}{}}
	t.foreign = foreign{log: cfg.Log}
	if t.claim, err = claim(claims, t.name); err != nil {
		conn.Close()
		return nil, err
	}
	for _, n := range networks {
		t.networks[n.Bridge] = n
	}
	for _, m := range ports {
		t.ports[m] = struct{}{}
	}
	if cfg.Off {
		err = t.clear()
	} else {
		err = t.rebuild()
	}
	if err != nil {
		conn.Close()
		unclaim(t.claim)
		return nil, err
	}
	if cfg.Off {
		return t, nil
	}
	t.foreign.open(conn, t.networks)
	t.keepUserTable()
	if t.watch, err = watch(t.heal); err != nil {
		conn.Close()
		unclaim(t.claim)
		return nil, err
	}
	return t, nil
}

// AddNetwork lets a bridge through, by its rules. One that is there already is
// replaced.
func (t *Table) AddNetwork(n Network) error {
	if t.cfg.Off {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var reqs []*netlink.Request
	if old, ok := t.networks[n.Bridge]; ok {
		var c content
		c.network(old)
		reqs = c.requests(t.name, delElements)
	}
	var c content
	c.network(n)
	old, had := t.networks[n.Bridge]
	t.networks[n.Bridge] = n
	err := t.apply(append(reqs, c.requests(t.name, addElements)...))
	if err != nil {
		err = t.rebuild()
	}
	if err != nil {
		delete(t.networks, n.Bridge)
		if had {
			t.networks[n.Bridge] = old
		}
		return err
	}
	t.foreign.open(t.conn, map[string]Network{n.Bridge: n})
	return nil
}

// RemoveNetwork is the end of AddNetwork; an unknown bridge is no error.
func (t *Table) RemoveNetwork(bridge string) error {
	if t.cfg.Off {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.networks[bridge]
	if !ok || t.conn == nil {
		return nil
	}
	delete(t.networks, bridge)
	var c content
	c.network(n)
	if err := t.apply(c.requests(t.name, delElements)); err != nil {
		if err := t.rebuild(); err != nil {
			return err
		}
	}
	return t.foreign.remove(t.conn, map[string]Network{bridge: n})
}

func portRequests(table string, ports []Mapping, request func(string, set, []element) *netlink.Request) []*netlink.Request {
	var c content
	for _, m := range ports {
		c.port(m)
	}
	return c.requests(table, request)
}

// Publish adds ports; it fails whole.
func (t *Table) Publish(ports []Mapping) error {
	if len(ports) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range ports {
		t.ports[m] = struct{}{}
	}
	err := t.apply(portRequests(t.name, ports, addElements))
	if err != nil {
		// The table is not what we think it is: somebody changed or removed
		// it. Put all of it back, these ports included.
		err = t.rebuild()
	}
	if err != nil {
		for _, m := range ports {
			delete(t.ports, m)
		}
		return err
	}
	t.forgetFlows(ports)
	return nil
}

// Unpublish removes ports; unknown ones are no error.
func (t *Table) Unpublish(ports []Mapping) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var known []Mapping
	for _, m := range ports {
		if _, ok := t.ports[m]; ok {
			known = append(known, m)
			delete(t.ports, m)
		}
	}
	if len(known) == 0 || t.conn == nil {
		return nil
	}
	if err := t.apply(portRequests(t.name, known, delElements)); err != nil {
		if err := t.rebuild(); err != nil {
			return err
		}
	}
	t.forgetFlows(known)
	return nil
}

// Owned tells whether the kernel keeps other programs from changing the table.
func (t *Table) Owned() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.owned
}

// heal checks the table and the accept rules in other tables and puts back what
// is missing. The watcher calls it after changes of the host's rules.
func (t *Table) heal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		return
	}
	if !t.complete() {
		if err := t.rebuild(); err != nil {
			t.cfg.Log.Error("the nftables table was changed by another program and cannot be put back; published ports and isolation are off", "table", t.name, "error", err)
		} else {
			t.cfg.Log.Warn("the nftables table was changed by another program; put it back", "table", t.name)
		}
	}
	t.foreign.open(t.conn, t.networks)
	t.keepUserTable()
}

// Close leaves the rules to the containers and ends the watching.
func (t *Table) Close() { t.end(false) }

// Remove takes every rule away and ends the watching.
func (t *Table) Remove() error { return t.end(true) }

func (t *Table) end(remove bool) error {
	if t.watch != nil {
		t.watch.close()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		return nil
	}
	var err error
	if remove && !t.cfg.Off {
		err = errors.Join(t.clear(), t.dropUserTable())
	}
	t.conn.Close()
	t.conn = nil
	unclaim(t.claim)
	return err
}

// clear takes the table and the accept rules in other tables away.
func (t *Table) clear() error {
	err := t.foreign.remove(t.conn, t.networks)
	if t.exists() {
		err = errors.Join(err, t.apply([]*netlink.Request{delTable(t.name)}))
	}
	return err
}

func (t *Table) apply(reqs []*netlink.Request) error {
	if t.conn == nil {
		return fault.New(fault.Unavailable, "the nftables table inet %s is closed", t.name)
	}
	return t.conn.Batch(batchBegin(), batchEnd(), reqs...)
}

func (t *Table) exists() bool { return t.conn != nil && tableExists(t.conn, t.name) }

// complete tells whether the table has all its rules. An owned table cannot lose
// any.
func (t *Table) complete() bool {
	if !t.exists() {
		return false
	}
	if t.owned {
		return true
	}
	for _, c := range ruleset() {
		rules, err := listRules(t.conn, unix.NFPROTO_INET, t.name, c.chain.name)
		if err != nil || len(rules) != len(c.rules) {
			return false
		}
	}
	return true
}

// rebuild replaces the table with what the Table holds, in one transaction.
func (t *Table) rebuild() error {
	var clear []*netlink.Request
	if t.exists() {
		clear = append(clear, delTable(t.name))
	}
	var err error
	for _, flags := range t.flags {
		var reqs []*netlink.Request
		if reqs, err = t.build(flags); err != nil {
			return err
		}
		if err = t.apply(append(clear, reqs...)); err == nil {
			t.owned = flags != 0
			return nil
		}
		// Kernels before 6.9 know no persistent table.
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if errors.Is(err, unix.EPERM) {
		return fault.New(fault.Conflict, "the nftables table inet %s belongs to another running sampand (give this one its own --bridge): %w", t.name, err)
	}
	return fault.Wrap(fault.Unavailable, fmt.Errorf("set up the nftables table inet %s: %w", t.name, err))
}
