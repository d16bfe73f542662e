package config

import (
	"strconv"
	"strings"
)

// Size reads a number of bytes, with one of the units k, m, g, t and p of 1024 or without;
// -1 is no limit.
func Size(text string) (int64, error) {
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, nil
	}
	t := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(text), "b"), "i")
	unit := -1
	if t != "" {
		unit = strings.IndexByte("kmgtp", t[len(t)-1])
	}
	if unit >= 0 {
		t = t[:len(t)-1]
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(t, " "), 64)
	bytes := v * float64(int64(1)<<(10*(unit+1)))
	if err != nil || !(v >= 0) || bytes >= 1<<63 {
		return 0, strconv.ErrSyntax
	}
	return int64(bytes), nil
}
