package ocispec

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// maxCPU is the highest CPU or memory node number accepted. Lists are never
// expanded: "1-9223372036854775807" must cost nothing (CVE-2018-20699).
const maxCPU = 8191

// A span is a part of a list, both ends included.
type span struct{ low, high uint64 }

func parseSet(list string) ([]span, bool) {
	var out []span
	for _, part := range strings.Split(list, ",") {
		low, high, ranged := strings.Cut(part, "-")
		l, err := strconv.ParseUint(low, 10, 64)
		h := l
		if err == nil && ranged {
			h, err = strconv.ParseUint(high, 10, 64)
		}
		if err != nil || h < l {
			return nil, false
		}
		out = append(out, span{l, h})
	}
	return out, true
}

func checkCPUSet(kind, list string) error {
	if list == "" {
		return nil
	}
	set, ok := parseSet(list)
	for _, s := range set {
		ok = ok && s.high <= maxCPU
	}
	if !ok {
		return fault.New(fault.Invalid, "Invalid value %s for cpuset %s: want numbers up to %d such as 0-2,4", list, kind, maxCPU)
	}
	return nil
}

// CheckAvailable refuses CPUs or memory nodes that the machine does not have.
// available is the kernel's list; an empty one (no such information) allows all.
func CheckAvailable(what, list, available string) error {
	wanted, ok := parseSet(list)
	have, known := parseSet(available)
	if list == "" || !ok || !known {
		return nil
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(have, func(h span) bool { return w.low >= h.low && w.high <= h.high }) {
			return fault.New(fault.Invalid, "Requested %s are not available - requested %s, available: %s", what, list, available)
		}
	}
	return nil
}
