package server

import (
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/event/filter"
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

// Until returns the moment that the filter until of a prune request names: a
// time as in Time, or an age such as 24h before now.
func Until(f filter.Args) (time.Time, error) {
	values := f.Get("until")
	switch len(values) {
	case 0:
		return time.Time{}, nil
	case 1:
	default:
		return time.Time{}, fault.New(fault.Invalid, "more than one until filter specified")
	}
	text := values[0]
	if age, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-age), nil
	}
	if t, ok := unixTime(text); ok {
		return t, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, "invalid filter 'until=%s': want an age such as 24h, or a time such as 2006-01-02T15:04:05", text)
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
