// Package links is --link on the default bridge network, Docker's oldest way to tell
// containers of each other: the linked one must run, its names stand in the other's
// /etc/hosts, and its ports and variables in the other's environment. On networks of
// the user the resolver does that work, and nothing of this applies.
//
// A container's record keeps a link as ID:ALIAS, so that the linked one may be
// renamed; clients see /NAME:/OWNER/ALIAS.
//
// With --icc=false links are refused (package request): the ports of that bridge are
// isolated from each other where no rule can except one.
package links

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
)

// bridge is the name of the default network.
const bridge = "bridge"

// Parse splits NAME, NAME:ALIAS, or what inspect shows of a link.
func Parse(link string) (target, alias string, err error) {
	target, alias, found := strings.Cut(link, ":")
	switch {
	case target == "" || found && alias == "" || strings.Contains(alias, ":"):
		return "", "", fault.New(fault.Invalid, "bad format for links: %q (write it as NAME or NAME:ALIAS)", link)
	case !found:
		alias = target
	case strings.HasPrefix(target, "/"): // of inspect's answer: /db:/web/alias
		alias = path.Base(alias)
	default:
		alias = strings.TrimPrefix(alias, "/") // Docker takes NAME:/ALIAS too
	}
	if strings.ContainsAny(alias, "/ \t\r\n") || len(alias) > maxAlias {
		return "", "", fault.New(fault.Invalid, "bad format for links: the alias in %q is no host name", link)
	}
	return strings.TrimPrefix(target, "/"), alias, nil
}

// maxAlias is the longest host name (RFC 1035).
const maxAlias = 253

// Resolve finds the containers that a create request links to, and keeps them by their
// ids.
func Resolve(x *index.Index, hc *container.HostConfig) error {
	if len(hc.Links) == 0 || hc.NetworkMode.IsUserDefined() || hc.NetworkMode.IsContainer() {
		return nil
	}
	kept := make([]string, 0, len(hc.Links))
	for _, link := range hc.Links {
		target, alias, err := Parse(link)
		if err != nil {
			return err
		}
		e, err := x.Find(target)
		if errors.Is(err, fault.NotFound) {
			// Not "not found": a client would pull the image and try again.
			return fault.New(fault.Invalid, "could not get container for %s: %s", target, err)
		}
		if err != nil {
			return err
		}
		// One in another container's network is reached where that one is.
		if e, err = x.Find(x.NetworkOwner(e.Record())); err != nil {
			return fault.New(fault.Invalid, "could not get container for %s: %s", target, err)
		}
		if e.Record().HostConfig.NetworkMode.IsHost() {
			return fault.New(fault.Invalid, "conflicting options: host type networking can't be used with links. This would result in undefined behavior")
		}
		// One alias may mean several containers: each has its line in the hosts file.
		if text := e.ID + ":" + alias; !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	hc.Links = kept
	return nil
}

// link is one link of a container whose other end exists.
type link struct {
	to    *record.Record
	alias string
}

// of lists the links of a container on the default network.
func of(x *index.Index, rec *record.Record) []link {
	if len(rec.HostConfig.Links) == 0 || rec.HostConfig.NetworkMode.IsUserDefined() {
		return nil
	}
	var out []link
	for _, text := range rec.HostConfig.Links {
		id, alias, ok := strings.Cut(text, ":")
		if !ok {
			continue
		}
		if e, err := x.Find(id); err == nil && e.ID == id {
			out = append(out, link{e.Record(), alias})
		}
	}
	return out
}

// address is where a linked container is reached; "" where it is not on the network.
func (l *link) address() string {
	if ep := l.to.State.Net.Endpoint(bridge); ep != nil && ep.IP.IsValid() {
		return ep.IP.Addr().String()
	}
	return ""
}

// names are those under which the linked container stands in the hosts file.
func (l *link) names() []string {
	names := []string{l.alias}
	for _, n := range []string{l.to.Config.Hostname, l.to.Name} {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Check tells whether all linked containers run: the container may not start else.
func Check(x *index.Index, rec *record.Record) error {
	all := of(x, rec)
	if len(all) < len(rec.HostConfig.Links) && !rec.HostConfig.NetworkMode.IsUserDefined() {
		return fault.New(fault.Conflict, "Cannot link to a non running container: one that /%s is linked to was removed (recreate /%s, or end its link with rm --link)", rec.Name, rec.Name)
	}
	for _, l := range all {
		switch {
		case !l.to.State.Running():
			return fault.New(fault.Conflict, "Cannot link to a non running container: /%s AS /%s/%s", l.to.Name, rec.Name, l.alias)
		case l.address() == "" && rec.HostConfig.NetworkMode.NetworkName() == bridge:
			return fault.New(fault.Conflict, "container %s not attached to default bridge network (links work there alone)", l.to.Name)
		}
	}
	return nil
}

// Hosts is what --add-host says, and after it the linked containers.
func Hosts(x *index.Index, rec *record.Record) []string {
	out := slices.Clone(rec.HostConfig.ExtraHosts)
	for _, l := range of(x, rec) {
		if a := l.address(); a != "" {
			for _, name := range l.names() {
				if entry := name + ":" + a; !slices.Contains(out, entry) {
					out = append(out, entry)
				}
			}
		}
	}
	return out
}

// Shown is a container's configuration with its links as clients see them.
func Shown(x *index.Index, rec *record.Record, shown *container.HostConfig) *container.HostConfig {
	if len(rec.HostConfig.Links) == 0 || rec.HostConfig.NetworkMode.IsUserDefined() {
		return shown
	}
	hc := *shown
	hc.Links = nil
	for _, l := range of(x, rec) {
		hc.Links = append(hc.Links, fmt.Sprintf("/%s:/%s/%s", l.to.Name, rec.Name, l.alias))
	}
	return &hc
}

// Names are the further names of containers, those that others have for them, by id.
func Names(x *index.Index) map[string][]string {
	var out map[string][]string
	for _, e := range x.All() {
		rec := e.Record()
		for _, l := range of(x, rec) {
			if out == nil {
				out = map[string][]string{}
			}
			out[l.to.ID] = append(out[l.to.ID], "/"+rec.Name+"/"+l.alias)
		}
	}
	return out
}

// Remove ends the link that OWNER/ALIAS names. What runs keeps it until its next start.
func Remove(ctx context.Context, x *index.Index, name string) error {
	owner, alias, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !ok || owner == "" || alias == "" {
		return fault.New(fault.Invalid, "Conflict, cannot remove the default link name of the container: %s (write the link as OWNER/ALIAS)", name)
	}
	e, err := x.Find(owner)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	found := false
	err = x.Change(e, e.Record().State.Status, true, func(r *record.Record) {
		hc := *r.HostConfig
		hc.Links = slices.DeleteFunc(slices.Clone(hc.Links), func(text string) bool { return strings.HasSuffix(text, ":"+alias) })
		if found = len(hc.Links) < len(r.HostConfig.Links); len(hc.Links) == 0 {
			hc.Links = nil // shown as a container's that never had one
		}
		r.HostConfig = &hc
	})
	if err == nil && !found {
		err = fault.New(fault.NotFound, "No such container: %s/%s (container %s has no such link)", owner, alias, owner)
	}
	return err
}
