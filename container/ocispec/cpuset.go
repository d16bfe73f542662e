package ocispec

import (
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// maxCPU is the highest CPU or memory node number accepted. Lists are never
// expanded: "1-9223372036854775807" must cost nothing (CVE-2018-20699).
const maxCPU = 8191

func checkCPUSet(flag, list string) error {
	if list == "" {
		return nil
	}
	for _, part := range strings.Split(list, ",") {
		low, high, ranged := strings.Cut(part, "-")
		l, err := strconv.ParseUint(low, 10, 64)
		h := l
		if err == nil && ranged {
			h, err = strconv.ParseUint(high, 10, 64)
		}
		if err != nil || h < l || h > maxCPU {
			return fault.New(fault.Invalid, "invalid value %q for %s: want numbers up to %d such as 0-2,4", list, flag, maxCPU)
		}
	}
	return nil
}
