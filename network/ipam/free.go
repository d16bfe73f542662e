package ipam

import (
	"net/netip"

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

// FindFree returns the first network of the ranges that overlaps none of used.
func FindFree(ranges []Range, used []netip.Prefix) (netip.Prefix, error) {
	for _, r := range ranges {
		if !r.Base.Addr().Is4() || r.Size < r.Base.Bits() || r.Size > 30 {
			return netip.Prefix{}, fault.New(fault.Invalid, "default address pool %s with size %d is not valid: IPv4 only, size from %d to 30", r.Base, r.Size, r.Base.Bits())
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
	return netip.Prefix{}, fault.New(fault.Exhausted, "every default address pool overlaps a route or address of this host (name a free network with --bip)")
}

func overlapsAny(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}
