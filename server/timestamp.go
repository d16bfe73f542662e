package server

import (
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

// Time returns a moment from a query parameter: seconds since 1970 with an
// optional fraction, or RFC 3339. Absent and "0" are the zero time.
func (c *Call) Time(key string) (time.Time, error) {
	text := c.Query(key)
	if text == "" || text == "0" {
		return time.Time{}, nil
	}
	if t, ok := unixTime(text); ok {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	return time.Time{}, fault.New(fault.Invalid, "invalid value %q of parameter %s: want seconds since 1970 such as 1136073845.000000001, or a time such as 2006-01-02T15:04:05Z", text, key)
}

func unixTime(text string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	// Beyond these bounds time.Time's nanosecond arithmetic wraps around.
	if err != nil || sec < -1<<33 || sec > 1<<33 {
		return time.Time{}, false
	}
	if fraction == "" {
		return time.Unix(sec, 0), true
	}
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	nsec, err := strconv.ParseUint(fraction+"000000000"[len(fraction):], 10, 32)
	return time.Unix(sec, int64(nsec)), err == nil
}
