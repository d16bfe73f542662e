package format

import (
	"strings"
	"time"

	"github.com/docker/go-units"
)

// shortID is how many digits of an id are shown.
const shortID = 12

// ID is an id without its algorithm, shortened unless full is wanted.
func ID(id string, full bool) string {
	if full {
		return id
	}
	if _, hex, ok := strings.Cut(id, ":"); ok {
		id = hex
	}
	return truncate(id, shortID)
}

// Since is "3 minutes ago"; times before 1970 mean unknown.
func Since(unix int64) string {
	if unix <= 0 {
		return "N/A"
	}
	return units.HumanDuration(time.Now().UTC().Sub(time.Unix(unix, 0))) + " ago"
}

// Size is a size in decimal units with three digits.
func Size(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }

// Ellipsis cuts s to width characters, the last one being the ellipsis.
func Ellipsis(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	if width <= 1 {
		return string(r[:max(width, 0)])
	}
	return string(r[:width-1]) + "…"
}
