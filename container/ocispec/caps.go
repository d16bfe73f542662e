package ocispec

import (
	"slices"
	"strings"

	"github.com/moby/sys/capability"

	"github.com/sampan-containers/sampan/fault"
)

// defaultCaps are Docker's fourteen.
func defaultCaps() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
		"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// allCaps returns every capability of this kernel that the process may give.
func allCaps() ([]string, error) {
	known, err := capability.ListSupported()
	if err != nil {
		return nil, err
	}
	caps := make([]string, 0, len(known))
	own, err := capability.NewPid2(0)
	if err == nil {
		err = own.Load()
	}
	for _, c := range known {
		// A daemon that lacks a capability (a nested container) cannot give it;
		// asking for it would make every privileged container fail.
		if err == nil && !own.Get(capability.BOUNDING, c) {
			continue
		}
		caps = append(caps, "CAP_"+strings.ToUpper(c.String()))
	}
	return caps, nil
}

// NormalizeCaps gives names the form CAP_X (ALL stays); an unknown one is fault.Invalid.
func NormalizeCaps(field string, names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		c := strings.ToUpper(strings.TrimSpace(n))
		if c == "ALL" || c == "CAP_ALL" {
			out = append(out, "ALL")
			continue
		}
		if !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if !knownCap(c) {
			return nil, fault.New(fault.Invalid, "invalid %s: unknown capability: %q", field, c)
		}
		out = append(out, c)
	}
	return out, nil
}

func knownCap(name string) bool {
	for _, c := range capability.ListKnown() {
		if "CAP_"+strings.ToUpper(c.String()) == name {
			return true
		}
	}
	return false
}

// effectiveCaps applies drops and adds to Docker's default set.
func effectiveCaps(add, drop []string, privileged bool) ([]string, error) {
	if privileged {
		return allCaps()
	}
	add, err := NormalizeCaps("CapAdd", add)
	if err != nil {
		return nil, err
	}
	if drop, err = NormalizeCaps("CapDrop", drop); err != nil {
		return nil, err
	}
	var caps []string
	switch {
	case slices.Contains(add, "ALL"):
		all, err := allCaps()
		if err != nil {
			return nil, err
		}
		for _, c := range all {
			if !slices.Contains(drop, c) {
				caps = append(caps, c)
			}
		}
	case slices.Contains(drop, "ALL"):
		caps = add
	default:
		for _, c := range defaultCaps() {
			if !slices.Contains(drop, c) {
				caps = append(caps, c)
			}
		}
		for _, c := range add {
			if !slices.Contains(caps, c) {
				caps = append(caps, c)
			}
		}
	}
	return caps, nil
}
