// Package names knows by which names the containers of user-defined networks
// find each other: the container's name, its aliases, its short id, and the
// links of a single container. It answers from memory and asks nobody, so that a
// resolver can call it for each query; the network service keeps it up to date.
//
// Names compare without regard to case and to a final dot. The default network,
// host and none have no names: their containers use the host's resolvers alone.
package names

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Member is one container's place in one network.
type Member struct {
	ContainerID string
	NetworkID   string
	Network     string // its name: "web.backend" finds web in the network backend
	Internal    bool   // the network has no way out
	Plain       bool   // the network has no names, as the default bridge
	// Names are those that everybody in the network sees; the first is the one
	// a reverse look-up gives.
	Names []string
	// Links are names that this container alone sees: alias → container name.
	Links map[string]string
	Addrs []netip.Addr
}

// Index is all members. The zero value is empty and ready; it is safe for
// concurrent use.
type Index struct {
	mu         sync.RWMutex
	containers map[string][]*Member              // by container ID
	networks   map[string]map[string][]*Member   // network ID → name → who has it
	addrs      map[string]map[netip.Addr]*Member // network ID → address → who has it
}

// Fold is the form in which names are compared.
func Fold(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Add makes a member known; one that is known already is replaced.
func (x *Index) Add(m Member) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(m.ContainerID, m.NetworkID)
	if x.containers == nil {
		x.containers, x.networks, x.addrs = map[string][]*Member{}, map[string]map[string][]*Member{}, map[string]map[netip.Addr]*Member{}
	}
	x.containers[m.ContainerID] = append(x.containers[m.ContainerID], &m)
	if m.Plain {
		return
	}
	if x.networks[m.NetworkID] == nil {
		x.networks[m.NetworkID], x.addrs[m.NetworkID] = map[string][]*Member{}, map[netip.Addr]*Member{}
	}
	byName, byAddr := x.networks[m.NetworkID], x.addrs[m.NetworkID]
	for _, n := range m.Names {
		if n = Fold(n); !slices.Contains(byName[n], &m) {
			byName[n] = append(byName[n], &m)
		}
	}
	for _, a := range m.Addrs {
		byAddr[a] = &m
	}
}

// Remove forgets a container's place in a network; an unknown one is no error.
func (x *Index) Remove(containerID, networkID string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(containerID, networkID)
}

func (x *Index) remove(containerID, networkID string) {
	list := x.containers[containerID]
	i := slices.IndexFunc(list, func(m *Member) bool { return m.NetworkID == networkID })
	if i < 0 {
		return
	}
	m := list[i]
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(x.containers, containerID)
	} else {
		x.containers[containerID] = list
	}
	byName, byAddr := x.networks[networkID], x.addrs[networkID]
	for _, n := range m.Names {
		n = Fold(n)
		if rest := slices.DeleteFunc(byName[n], func(o *Member) bool { return o == m }); len(rest) == 0 {
			delete(byName, n)
		} else {
			byName[n] = rest
		}
	}
	for _, a := range m.Addrs {
		if byAddr[a] == m {
			delete(byAddr, a)
		}
	}
	if byName != nil && len(byName) == 0 {
		delete(x.networks, networkID)
		delete(x.addrs, networkID)
	}
}

// Lookup returns the addresses, of both families, that a name has for a
// container: its own links first, then the names in its networks; NAME.NETWORK
// looks in that network only. found tells that somebody has the name, even with
// no address of a family: such a name must not be asked for outside. The order
// is that in which they joined; a resolver rotates it.
func (x *Index) Lookup(containerID, name string) (addrs []netip.Addr, found bool) {
	name = Fold(name)
	x.mu.RLock()
	defer x.mu.RUnlock()
	joined := x.containers[containerID]
	for _, in := range joined {
		target := name
		for alias, to := range in.Links {
			if Fold(alias) == name {
				target = Fold(to)
			}
		}
		addrs, found = collect(addrs, found, x.networks[in.NetworkID][target])
	}
	if found {
		return addrs, true
	}
	for _, in := range joined {
		if short, ok := strings.CutSuffix(name, "."+Fold(in.Network)); ok {
			addrs, found = collect(addrs, found, x.networks[in.NetworkID][short])
		}
	}
	return addrs, found
}

func collect(addrs []netip.Addr, found bool, members []*Member) ([]netip.Addr, bool) {
	for _, m := range members {
		for _, a := range m.Addrs {
			if !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs, found || len(members) > 0
}

// Reverse returns the name, NAME.NETWORK, of an address in one of the
// container's networks.
func (x *Index) Reverse(containerID string, addr netip.Addr) (name string, found bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, in := range x.containers[containerID] {
		if m := x.addrs[in.NetworkID][addr.Unmap()]; m != nil && len(m.Names) > 0 {
			return m.Names[0] + "." + m.Network, true
		}
	}
	return "", false
}

// Outside tells whether a container may ask for names outside: not when it is in
// internal networks only. A container that is in no network may not.
func (x *Index) Outside(containerID string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.ContainsFunc(x.containers[containerID], func(m *Member) bool { return !m.Internal })
}

// Resolves tells whether the container has names to look up here: it is in a
// user-defined network.
func (x *Index) Resolves(containerID string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.ContainsFunc(x.containers[containerID], func(m *Member) bool { return !m.Plain })
}
