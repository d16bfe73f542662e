package server

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// Version is an Engine API version such as 1.41, ordered by its number.
type Version uint32

// V makes the version major.minor.
func V(major, minor uint16) Version { return Version(uint32(major)<<16 | uint32(minor)) }

// String returns the form used in paths and headers, without the leading "v".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v>>16, v&0xffff) }

var (
	// MinVersion is the oldest version served; Docker dropped older ones in 25.0.
	MinVersion = V(1, 24)
	// MaxVersion is the version whose types github.com/moby/moby/api defines. A
	// test compares it with the official client's.
	MaxVersion = V(1, 56)
)

// splitVersion takes the "/v1.41" prefix off a path. A path without one, or
// with something that only looks like one, is returned whole.
func splitVersion(path string) (prefix, rest string) {
	if len(path) < 3 || path[:2] != "/v" {
		return "", path
	}
	end := strings.IndexByte(path[2:], '/')
	if end <= 0 {
		return "", path
	}
	prefix = path[2 : 2+end]
	if strings.Trim(prefix, "0123456789.") != "" {
		return "", path
	}
	return prefix, path[2+end:]
}

// negotiate turns a path's prefix into a version that is served.
func negotiate(prefix string) (Version, error) {
	if prefix == "" {
		return MaxVersion, nil
	}
	v, ok := parseVersion(prefix)
	switch {
	case !ok:
		return 0, fault.New(fault.Invalid, "invalid API version %q: want a form like v%s", prefix, MaxVersion)
	case v < MinVersion:
		return v, fault.New(fault.Invalid, "client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", prefix, MinVersion)
	case v > MaxVersion:
		return v, fault.New(fault.Invalid, "client version %s is too new. Maximum supported API version is %s", prefix, MaxVersion)
	}
	return v, nil
}

func parseVersion(s string) (Version, bool) {
	major, minor, _ := strings.Cut(s, ".")
	if minor == "" {
		minor = "0"
	}
	a, errA := strconv.ParseUint(major, 10, 16)
	b, errB := strconv.ParseUint(minor, 10, 16)
	return V(uint16(a), uint16(b)), errA == nil && errB == nil
}
