package system

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/sampan-containers/sampan/box/tool"
)

// hertz is USER_HZ, the unit of times in /proc, on every Linux that Go knows.
const hertz = 100

type process struct {
	pid, ppid, uid int
	state          string
	comm, args     string
	tty            int
	ticks          uint64 // of processor time
	started        uint64 // ticks after boot
	vsize, rss     uint64 // bytes
}

func (p *process) cpu() time.Duration { return time.Duration(p.ticks) * time.Second / hertz }

func processes() ([]*process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []*process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil { // else it has ended
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *process) int { return a.pid - b.pid })
	return list, nil
}

func readProcess(pid int) (*process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return nil, err
	}
	// The name is in parentheses and may hold anything, also parentheses.
	open, shut := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || shut < open {
		return nil, fmt.Errorf("%s/stat: unknown format", dir)
	}
	f := strings.Fields(string(stat[shut+1:]))
	const last = 22 // rss, field 24 of proc(5), counted from the state
	if len(f) < last {
		return nil, fmt.Errorf("%s/stat: unknown format", dir)
	}
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(f[i], 10, 64) // the kernel writes numbers
		return n
	}
	p := &process{
		pid: pid, ppid: int(number(1)), state: f[0], comm: string(stat[open+1 : shut]), tty: int(number(4)),
		ticks: number(11) + number(12), started: number(19), vsize: number(20), rss: number(21) * uint64(os.Getpagesize()),
	}
	if st, err := os.Stat(dir); err == nil {
		p.uid = int(ownerOf(st))
	}
	cmdline, err := os.ReadFile(dir + "/cmdline")
	if err == nil && len(cmdline) > 0 {
		p.args = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, string(cmdline)))
	} else {
		p.args = "[" + p.comm + "]"
	}
	return p, nil
}

func ttyName(dev int) string {
	switch major, minor := unix.Major(uint64(dev)), unix.Minor(uint64(dev)); {
	case dev == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", (major-136)*256+minor)
	default:
		return fmt.Sprintf("%d:%d", major, minor)
	}
}

func named(uid int) string {
	if name := userName(uid); name != "" {
		return name
	}
	return strconv.Itoa(uid)
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}

// bootTime is when the machine started, for the processes' starts.
func bootTime() time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

func startText(p *process, boot time.Time) string {
	at := boot.Add(time.Duration(p.started) * time.Second / hertz)
	if time.Since(at) > 24*time.Hour {
		return at.Format("Jan02")
	}
	return at.Format("15:04")
}

func ps(c *tool.Call) int {
	if len(c.Args) > 0 && strings.Trim(c.Args[0], "auxwef") == "" {
		c.Args[0] = "-" + c.Args[0]
	}
	o, status, ok := c.Options("eAfFlauxwo:p:T o=format p=pid")
	if !ok {
		return status
	}
	list, err := processes()
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	if want := o.Value('p', ""); want != "" {
		ids := strings.FieldsFunc(want, func(r rune) bool { return r == ',' || r == ' ' })
		list = slices.DeleteFunc(list, func(p *process) bool { return !slices.Contains(ids, strconv.Itoa(p.pid)) })
		if len(list) == 0 {
			status = tool.Failed
		}
	}
	boot := bootTime()
	switch {
	case o.Has('o'):
		return psColumns(c, list, o.Value('o', ""), boot)
	case o.Has('f') || o.Has('F'):
		fmt.Fprintf(c.Out, "%-8s %7s %7s %5s %-8s %8s %s\n", "UID", "PID", "PPID", "STIME", "TTY", "TIME", "CMD")
		for _, p := range list {
			fmt.Fprintf(c.Out, "%-8s %7d %7d %5s %-8s %8s %s\n", named(p.uid), p.pid, p.ppid, startText(p, boot), ttyName(p.tty), clock(p.cpu()), p.args)
		}
	case o.Has('u'):
		fmt.Fprintf(c.Out, "%-8s %7s %8s %8s %-8s %-4s %5s %8s %s\n", "USER", "PID", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND")
		for _, p := range list {
			fmt.Fprintf(c.Out, "%-8s %7d %8d %8d %-8s %-4s %5s %8s %s\n", named(p.uid), p.pid, p.vsize/1024, p.rss/1024, ttyName(p.tty), p.state, startText(p, boot), clock(p.cpu()), p.args)
		}
	default:
		fmt.Fprintf(c.Out, "%7s %-8s %8s %s\n", "PID", "USER", "TIME", "COMMAND")
		for _, p := range list {
			fmt.Fprintf(c.Out, "%7d %-8s %8s %s\n", p.pid, named(p.uid), clock(p.cpu()), p.args)
		}
	}
	return status
}

func psColumns(c *tool.Call, list []*process, columns string, boot time.Time) int {
	names := strings.FieldsFunc(columns, func(r rune) bool { return r == ',' || r == ' ' })
	column := func(p *process, name string) (string, bool) {
		switch name {
		case "pid":
			return strconv.Itoa(p.pid), true
		case "ppid":
			return strconv.Itoa(p.ppid), true
		case "user", "uname":
			return named(p.uid), true
		case "uid":
			return strconv.Itoa(p.uid), true
		case "comm", "ucmd":
			return p.comm, true
		case "args", "cmd", "command":
			return p.args, true
		case "time":
			return clock(p.cpu()), true
		case "tty", "tt":
			return ttyName(p.tty), true
		case "stat", "state", "s":
			return p.state, true
		case "vsz":
			return strconv.FormatUint(p.vsize/1024, 10), true
		case "rss":
			return strconv.FormatUint(p.rss/1024, 10), true
		case "stime", "start":
			return startText(p, boot), true
		}
		return "", false
	}
	header := make([]string, len(names))
	for i, name := range names {
		name, title, titled := strings.Cut(name, "=")
		names[i] = name
		header[i] = strings.ToUpper(name)
		if titled {
			header[i] = title
		}
		if _, ok := column(&process{}, name); !ok {
			return c.Misused("unknown column %q", name)
		}
	}
	rows := [][]string{header}
	if strings.Join(header, "") == "" {
		rows = nil
	}
	for _, p := range list {
		var row []string
		for _, name := range names {
			text, _ := column(p, name) // was tried above
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(names))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], len(text))
		}
	}
	for _, row := range rows {
		for i, text := range row {
			if i < len(row)-1 {
				text = fmt.Sprintf("%-*s ", widths[i], text)
			}
			fmt.Fprint(c.Out, text)
		}
		fmt.Fprintln(c.Out)
	}
	return tool.OK
}

func pidof(c *tool.Call) int {
	list, err := processes()
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	var found []string
	for _, p := range slices.Backward(list) {
		argv0, _, _ := strings.Cut(p.args, " ")
		if slices.Contains(c.Args, p.comm) || slices.Contains(c.Args, argv0[strings.LastIndexByte(argv0, '/')+1:]) {
			found = append(found, strconv.Itoa(p.pid))
		}
	}
	if len(found) == 0 {
		return tool.Failed
	}
	fmt.Fprintln(c.Out, strings.Join(found, " "))
	return tool.OK
}

func kill(c *tool.Call) int {
	args, sig := c.Args, unix.SIGTERM
	if len(args) > 0 && args[0] == "-l" {
		for n := unix.Signal(1); n < 32; n++ {
			fmt.Fprintf(c.Out, "%2d %s\n", n, strings.TrimPrefix(unix.SignalName(n), "SIG"))
		}
		return tool.OK
	}
	if len(args) > 1 && strings.HasPrefix(args[0], "-") && args[0] != "--" {
		text := args[0][1:]
		args = args[1:]
		if text == "s" {
			text, args = args[0], args[1:]
		}
		var ok bool
		if sig, ok = parseSignal(text); !ok {
			return c.Misused("unknown signal %s", text)
		}
	}
	if len(args) == 0 {
		return c.Misused("needs a process ID")
	}
	for _, arg := range args {
		if arg == "--" {
			continue
		}
		pid, err := strconv.Atoi(arg)
		if err != nil {
			c.Fail("%s: not a process ID", arg)
		} else if err := unix.Kill(pid, sig); err != nil {
			c.Fail("%s: %s", arg, err)
		}
	}
	return c.Status()
}

func parseSignal(name string) (unix.Signal, bool) {
	const last = 64
	if n, err := strconv.Atoi(name); err == nil {
		return unix.Signal(n), n >= 0 && n <= last
	}
	name = strings.ToUpper(name)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	return sig, sig != 0
}

func top(c *tool.Call) int {
	o, status, ok := c.Options("bn:d:")
	if !ok {
		return status
	}
	count, err1 := strconv.Atoi(o.Value('n', "-1"))
	seconds, err2 := strconv.ParseFloat(o.Value('d', "2"), 64)
	if err1 != nil || err2 != nil || seconds <= 0 {
		return c.Misused("needs numbers")
	}
	screen := !o.Has('b') && term.IsTerminal(1)
	pause := time.Duration(seconds * float64(time.Second))
	before := map[int]uint64{}
	for i := 0; count < 0 || i < count; i++ {
		rows := 1 << 20
		if screen {
			if _, h, err := term.GetSize(1); err == nil {
				rows = max(1, h-4)
			}
			fmt.Fprint(c.Out, "\x1b[H\x1b[2J")
		}
		list, err := processes()
		if err != nil {
			return c.Fail("%s", tool.Reason(err))
		}
		topPage(c, list, before, pause, rows)
		if err := c.Out.Flush(); err != nil {
			return tool.Failed
		}
		clear(before)
		for _, p := range list {
			before[p.pid] = p.ticks
		}
		if i+1 != count {
			time.Sleep(pause)
		}
	}
	return tool.OK
}

func topPage(c *tool.Call, list []*process, before map[int]uint64, pause time.Duration, rows int) {
	used := func(p *process) float64 {
		was, ok := before[p.pid]
		if !ok {
			return 0
		}
		return float64(p.ticks-min(p.ticks, was)) / hertz / pause.Seconds() * 100
	}
	slices.SortStableFunc(list, func(a, b *process) int {
		if ua, ub := used(a), used(b); ua != ub {
			if ua > ub {
				return -1
			}
			return 1
		}
		return int(min(max(int64(b.rss)-int64(a.rss), -1), 1))
	})
	if m, err := memory(); err == nil {
		fmt.Fprintf(c.Out, "Tasks: %d   Mem: %dM total, %dM available\n\n", len(list), m["MemTotal"]>>20, m["MemAvailable"]>>20)
	}
	fmt.Fprintf(c.Out, "%7s %-8s %1s %6s %8s %8s %s\n", "PID", "USER", "S", "CPU%", "RSS(K)", "TIME", "COMMAND")
	for _, p := range list[:min(rows, len(list))] {
		args := p.args
		if len(args) > 80 {
			args = args[:80]
		}
		fmt.Fprintf(c.Out, "%7d %-8s %1s %6.1f %8d %8s %s\n", p.pid, named(p.uid), p.state, used(p), p.rss/1024, clock(p.cpu()), args)
	}
}
