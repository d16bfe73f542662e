package ipam

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sampan-containers/sampan/fault"
)

// Range is a block cut into networks of Size bits.
type Range struct {
	Base netip.Prefix
	Size int
}

// DockerRanges are the blocks Docker takes networks from when nothing is
// configured, in its order.
func DockerRanges() []Range {
	return []Range{
		{netip.MustParsePrefix("172.17.0.0/16"), 16},
		{netip.MustParsePrefix("172.18.0.0/16"), 16},
		{netip.MustParsePrefix("172.19.0.0/16"), 16},
		{netip.MustParsePrefix("172.20.0.0/14"), 16},
		{netip.MustParsePrefix("172.24.0.0/14"), 16},
		{netip.MustParsePrefix("172.28.0.0/14"), 16},
		{netip.MustParsePrefix("192.168.0.0/16"), 20},
	}
}

// FindFree returns the first IPv4 network of the ranges that overlaps none of used.
func FindFree(ranges []Range, used []netip.Prefix) (netip.Prefix, error) {
	for _, r := range ranges {
		if r.Base.Addr().Is6() {
			continue
		}
		if r.Size < r.Base.Bits() || r.Size > 30 {
			return netip.Prefix{}, fault.New(fault.Invalid, "default address pool %s with size %d is not valid: want a size from %d to 30", r.Base, r.Size, r.Base.Bits())
		}
		lo, hi := bounds(r.Base.Masked())
		step := uint64(1) << (32 - r.Size)
		for a := uint64(lo); a <= uint64(hi); a += step {
			p := netip.PrefixFrom(toAddr(uint32(a)), r.Size)
			if !overlapsAny(p, used) {
				return p, nil
			}
		}
	}
	return netip.Prefix{}, fault.New(fault.Exhausted, "every default address pool overlaps a network, a route or an address of this host: could not find an available, non-overlapping IPv4 address pool among the defaults (name a free one with --subnet, or --bip of the daemon)")
}

// ulaTries bounds the search for a free network among 2^40 random ones.
const ulaTries = 16

// FindFree6 returns the first IPv6 network of the ranges that overlaps none of
// used; without IPv6 ranges a unique local /64 that a hash of seed chooses
// (RFC 4193), so that two hosts, or two networks, never have the same.
func FindFree6(ranges []Range, seed string, used []netip.Prefix) (netip.Prefix, error) {
	six := false
	for _, r := range ranges {
		if r.Base.Addr().Is4() {
			continue
		}
		six = true
		if r.Size < r.Base.Bits() || r.Size > 126 {
			return netip.Prefix{}, fault.New(fault.Invalid, "default address pool %s with size %d is not valid: want a size from %d to 126", r.Base, r.Size, r.Base.Bits())
		}
		if p, ok := firstFree6(r, used); ok {
			return p, nil
		}
	}
	if six {
		return netip.Prefix{}, fault.New(fault.Exhausted, "could not find an available, non-overlapping IPv6 address pool among the defaults (name a free one with --subnet)")
	}
	for i := range ulaTries {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", seed, i))
		b := [16]byte{0: 0xfd}
		copy(b[1:8], sum[:7])
		if p := netip.PrefixFrom(netip.AddrFrom16(b), ulaBits); !overlapsAny(p, used) {
			return p, nil
		}
	}
	return netip.Prefix{}, fault.New(fault.Exhausted, "no free unique local IPv6 network was found (name one with --subnet)")
}

// ulaBits is the size of a network made by default.
const ulaBits = 64

// firstFree6 walks a range network by network; one that is in the way is passed
// over as a whole.
func firstFree6(r Range, used []netip.Prefix) (netip.Prefix, bool) {
	p := netip.PrefixFrom(r.Base.Masked().Addr(), r.Size)
	for r.Base.Contains(p.Addr()) {
		i := slices.IndexFunc(used, p.Overlaps)
		if i < 0 {
			return p, true
		}
		wide := p
		if used[i].Bits() < p.Bits() {
			wide = used[i].Masked()
		}
		next := last(wide).Next()
		if !next.IsValid() {
			break
		}
		p = netip.PrefixFrom(next, r.Size)
	}
	return netip.Prefix{}, false
}

// last returns the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func overlapsAny(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}
