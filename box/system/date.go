package system

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

func date(c *tool.Call) int {
	o, status, ok := c.Options("ud:r:IRs: u=utc d=date r=reference I=iso-8601 R=rfc-email s=set")
	if !ok {
		return status
	}
	t := time.Now()
	if path := o.Value('r', ""); path != "" {
		st, err := os.Stat(path)
		if err != nil {
			return c.FailPath(path, err)
		}
		t = st.ModTime()
	}
	if text := o.Value('d', o.Value('s', "")); text != "" {
		var err error
		if t, err = parseDate(text, t); err != nil {
			return c.Misused("%s", err)
		}
	}
	if o.Has('s') {
		ts := unix.NsecToTimespec(t.UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			return c.Fail("cannot set the time: %s", err)
		}
	}
	if o.Has('u') {
		t = t.UTC()
	}
	format := "+%a %b %e %H:%M:%S %Z %Y"
	switch {
	case len(o.Args) > 0:
		format = o.Args[0]
	case o.Has('I'):
		format = "+%Y-%m-%d"
	case o.Has('R'):
		format = "+%a, %d %b %Y %H:%M:%S %z"
	}
	layout, found := strings.CutPrefix(format, "+")
	if !found {
		return c.Misused("%q is not a format, which begins with +", format)
	}
	fmt.Fprintln(c.Out, strftime(layout, t))
	return tool.OK
}

func parseDate(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	if seconds, found := strings.CutPrefix(text, "@"); found {
		if v, err := strconv.ParseFloat(seconds, 64); err == nil {
			return time.Unix(0, int64(v*float64(time.Second))), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC1123Z, time.RFC1123, time.UnixDate, time.ANSIC, "15:04:05", "15:04"} {
		t, err := time.ParseInLocation(layout, text, time.Local)
		if err != nil {
			continue
		}
		if t.Year() == 0 {
			t = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.Local)
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time, such as 2006-01-02 15:04:05 or @SECONDS", text)
}

// strftime knows the letters of strftime(3) and GNU's %N and %s.
func strftime(layout string, t time.Time) string {
	simple := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'd': "02",
		'D': "01/02/06", 'e': "_2", 'F': "2006-01-02", 'H': "15", 'I': "03", 'm': "01", 'M': "04", 'p': "PM",
		'r': "03:04:05 PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05", 'y': "06",
		'Y': "2006", 'z': "-0700", 'Z': "MST",
	}
	var b strings.Builder
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' || i+1 == len(layout) {
			b.WriteByte(layout[i])
			continue
		}
		i++
		pad := byte('0')
		if (layout[i] == '-' || layout[i] == '_') && i+1 < len(layout) {
			pad = layout[i]
			i++
		}
		text := ""
		switch letter := layout[i]; letter {
		case 's':
			text = strconv.FormatInt(t.Unix(), 10)
		case 'N':
			text = fmt.Sprintf("%09d", t.Nanosecond())
		case 'j':
			text = fmt.Sprintf("%03d", t.YearDay())
		case 'u':
			text = strconv.Itoa((int(t.Weekday())+6)%7 + 1)
		case 'w':
			text = strconv.Itoa(int(t.Weekday()))
		case 'V':
			_, week := t.ISOWeek()
			text = fmt.Sprintf("%02d", week)
		case 'G':
			year, _ := t.ISOWeek()
			text = strconv.Itoa(year)
		case 'C':
			text = fmt.Sprintf("%02d", t.Year()/100)
		case 'k':
			text = fmt.Sprintf("%2d", t.Hour())
		case 'l':
			text = fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
		case 'n':
			text = "\n"
		case 't':
			text = "\t"
		case '%':
			text = "%"
		default:
			if form, ok := simple[letter]; ok {
				text = t.Format(form)
			} else {
				text = "%" + string(letter)
			}
		}
		switch {
		case pad == '-' && len(text) > 1 && (text[0] == '0' || text[0] == ' '):
			text = text[1:]
		case pad == '_' && len(text) > 1 && text[0] == '0':
			text = " " + text[1:]
		}
		b.WriteString(text)
	}
	return b.String()
}
