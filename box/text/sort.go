package text

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/box/tool"
)

// sortKey is one -k: the fields from..to, 1 being the first, 0 the last.
type sortKey struct {
	from, to int
	flags    string
}

func sortTool(c *tool.Call) int {
	o, status, ok := c.Options("bfghnrRsuVk:t:o:cz f=ignore-case n=numeric-sort r=reverse u=unique k=key t=field-separator o=output h=human-numeric-sort R=random-sort")
	if !ok {
		return status
	}
	var keys []sortKey
	for _, text := range o.Values('k') {
		k, err := parseKey(text)
		if err != nil {
			return c.Misused("%s", err)
		}
		keys = append(keys, k)
	}
	global := ""
	for _, letter := range "bfghnVR" {
		if o.Has(byte(letter)) {
			global += string(letter)
		}
	}
	var lines []string
	c.Inputs(o.Args, func(_ string, r io.Reader) error {
		return tool.Lines(r, func(line string) error { lines = append(lines, line); return nil })
	})
	if c.Status() != tool.OK {
		return tool.Misuse
	}
	compare := func(a, b string) int {
		if len(keys) == 0 {
			return order(a, b, global) * sign(o.Has('r'))
		}
		for _, k := range keys {
			flags, reverse := k.flags, strings.Contains(k.flags, "r")
			if flags == "" {
				flags, reverse = global, o.Has('r')
			}
			sep := o.Value('t', "")
			if n := order(k.of(a, sep), k.of(b, sep), flags); n != 0 {
				return n * sign(reverse)
			}
		}
		return 0
	}
	last := func(a, b string) int {
		if n := compare(a, b); n != 0 || o.Has('s') || o.Has('u') {
			return n
		}
		return cmp.Compare(a, b) * sign(o.Has('r'))
	}
	if o.Has('c') {
		if slices.IsSortedFunc(lines, compare) {
			return tool.OK
		}
		return c.Fail("the input is not sorted")
	}
	if o.Has('R') {
		rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	} else {
		slices.SortStableFunc(lines, last)
	}
	if o.Has('u') {
		lines = slices.CompactFunc(lines, func(a, b string) bool { return compare(a, b) == 0 })
	}
	out := io.Writer(c.Out)
	if name := o.Value('o', ""); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return c.FailPath(name, err)
		}
		defer f.Close()
		out = f
	}
	for _, line := range lines {
		if _, err := io.WriteString(out, line+"\n"); err != nil {
			return c.Fail("%s", tool.Reason(err))
		}
	}
	return tool.OK
}

func sign(reverse bool) int {
	if reverse {
		return -1
	}
	return 1
}

func parseKey(text string) (sortKey, error) {
	flags := strings.TrimLeft(text, "0123456789.,")
	from, to, ranged := strings.Cut(strings.TrimSuffix(text, flags), ",")
	whole := func(s string) (int, error) {
		s, _, _ = strings.Cut(s, ".") // positions inside a field are not supported
		return strconv.Atoi(s)
	}
	k := sortKey{flags: flags}
	var err error
	if k.from, err = whole(from); err == nil && ranged {
		k.to, err = whole(to)
	}
	if err != nil || k.from < 1 || strings.Trim(flags, "bfghnrVR") != "" {
		return k, fmt.Errorf("%q is not a key such as 2 or 2,3n", text)
	}
	return k, nil
}

func (k sortKey) of(line, sep string) string {
	var fields []string
	glue := sep
	if sep == "" {
		fields, glue = strings.Fields(line), " "
	} else {
		fields = strings.Split(line, sep)
	}
	if k.from > len(fields) {
		return ""
	}
	to := len(fields)
	if k.to > 0 {
		to = min(to, max(k.to, k.from))
	}
	return strings.Join(fields[k.from-1:to], glue)
}

func order(a, b, flags string) int {
	if strings.ContainsAny(flags, "ngh") {
		return cmp.Compare(number(a, strings.Contains(flags, "h")), number(b, strings.Contains(flags, "h")))
	}
	if strings.Contains(flags, "V") {
		return version(a, b)
	}
	if strings.Contains(flags, "b") {
		a, b = strings.TrimLeft(a, " \t"), strings.TrimLeft(b, " \t")
	}
	if strings.Contains(flags, "f") {
		a, b = strings.ToUpper(a), strings.ToUpper(b)
	}
	return cmp.Compare(a, b)
}

// number reads the number that a text begins with, else 0.
func number(text string, human bool) float64 {
	text = strings.TrimLeft(text, " \t")
	n := 0
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		n = 1
	}
	n += span(text[n:], "0123456789.", len(text))
	v, _ := strconv.ParseFloat(text[:n], 64) // not a number sorts as 0
	if human && n < len(text) {
		if power := strings.IndexByte("KMGTPE", strings.ToUpper(text[n : n+1])[0]); power >= 0 {
			for range power + 1 {
				v *= 1024
			}
		}
	}
	return v
}

// version compares runs of digits as numbers.
func version(a, b string) int {
	for a != "" && b != "" {
		na, nb := span(a, "0123456789", len(a)), span(b, "0123456789", len(b))
		if na > 0 && nb > 0 {
			da, db := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if n := cmp.Or(cmp.Compare(len(da), len(db)), cmp.Compare(da, db)); n != 0 {
				return n
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}
