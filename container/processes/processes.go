// Package processes describes the processes of a container as ps does on the
// host. Docker's default columns (ps -ef) are read from /proc, so that no ps is
// needed; any other options are given to the host's ps, bounded in time and output.
//
// What a process calls itself is hostile text: it is bounded, and control
// characters are replaced.
package processes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// patience bounds one listing: reading the command line of a process waits
	// for its memory lock, which a hung FUSE or NFS mapping can hold for ever.
	patience = 10 * time.Second
	// maxCommand bounds the command line of one process, as the kernel once did.
	maxCommand = 4096
	// userHZ is the unit of times in /proc/PID/stat, fixed by the kernel's interface.
	userHZ = 100
)

// DefaultOptions are ps's when none are given.
const DefaultOptions = "-ef"

// Titles are the columns of List.
func Titles() []string { return []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"} }

// List returns the rows of `ps -ef` for the processes given, without those that
// have ended meanwhile.
func List(ctx context.Context, pids []int) ([][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type answer struct {
		rows [][]string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		rows, err := list(pids, time.Now())
		done <- answer{rows, err}
	}()
	select {
	case a := <-done:
		return a.rows, a.err
	case <-ctx.Done():
		return nil, fault.New(fault.Deadline, "the processes of the container do not answer: %w; one of them waits for the kernel (a device, or a network file system)", context.Cause(ctx))
	}
}

func list(pids []int, now time.Time) ([][]string, error) {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return nil, err
	}
	names := map[uint32]string{}
	rows := [][]string{}
	for _, pid := range pids {
		p, err := look(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		name, known := names[p.uid]
		if !known {
			name = userName(p.uid)
			names[p.uid] = name
		}
		rows = append(rows, p.row(name, time.Duration(boot.Nano()), now))
	}
	return rows, nil
}

// process is what /proc tells of one.
type process struct {
	pid, ppid int
	uid       uint32
	state     byte
	comm      string
	tty       uint64
	ticks     uint64 // user and system time
	start     uint64 // since boot
	command   string
}

func look(pid int) (*process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	st, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	stat, err := readSome(dir + "/stat")
	if err != nil {
		return nil, err
	}
	p, err := parseStat(string(stat))
	if err != nil {
		return nil, err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		p.uid = sys.Uid
	}
	line, err := readSome(dir + "/cmdline")
	if err != nil {
		return nil, err
	}
	p.command = commandLine(string(line), p)
	return p, nil
}

func readSome(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCommand))
}

// Fields of /proc/PID/stat after the name, see proc_pid_stat(5).
const (
	statState, statPPID, statTTY = 0, 1, 4
	statUser, statSystem         = 11, 12
	statStart                    = 19
)

// parseStat reads the line "PID (NAME) STATE PPID …". The name may hold anything,
// also parentheses and blanks.
func parseStat(text string) (*process, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return nil, fmt.Errorf("unexpected text in /proc: %.80q", text)
	}
	f := strings.Fields(text[end+1:])
	if len(f) <= statStart {
		return nil, fmt.Errorf("unexpected text in /proc: %.80q", text)
	}
	p := &process{comm: text[open+1 : end], state: f[statState][0]}
	var errs [6]error
	p.pid, errs[0] = strconv.Atoi(strings.TrimSpace(text[:open]))
	p.ppid, errs[1] = strconv.Atoi(f[statPPID])
	var user, system uint64
	p.tty, errs[2] = strconv.ParseUint(f[statTTY], 10, 64)
	user, errs[3] = strconv.ParseUint(f[statUser], 10, 64)
	system, errs[4] = strconv.ParseUint(f[statSystem], 10, 64)
	p.start, errs[5] = strconv.ParseUint(f[statStart], 10, 64)
	p.ticks = user + system
	return p, errors.Join(errs[:]...)
}

// commandLine is the CMD column.
func commandLine(args string, p *process) string {
	switch {
	case p.state == 'Z':
		return printable("[" + p.comm + "] <defunct>")
	case args == "":
		return printable("[" + p.comm + "]")
	}
	return printable(strings.ReplaceAll(strings.TrimRight(args, "\x00"), "\x00", " "))
}

func printable(s string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s), "?")
}

func (p *process) row(user string, sinceBoot time.Duration, now time.Time) []string {
	age := sinceBoot - time.Duration(p.start)*(time.Second/userHZ)
	return []string{user, strconv.Itoa(p.pid), strconv.Itoa(p.ppid), strconv.FormatUint(share(p.ticks, age), 10),
		startTime(now.Add(-age), now), terminal(p.tty), cpuTime(p.ticks / userHZ), p.command}
}

// share is the percentage of a processor since the start, at most 99.
func share(ticks uint64, age time.Duration) uint64 {
	seconds := uint64(max(age, 0) / time.Second)
	if seconds == 0 {
		return 0
	}
	return min(ticks*100/userHZ/seconds, 99)
}

// startTime is the time of day, the day, or the year, whichever says enough.
func startTime(start, now time.Time) string {
	switch {
	case start.Year() != now.Year():
		return start.Format("2006")
	case start.YearDay() != now.YearDay():
		return start.Format("Jan02")
	}
	return start.Format("15:04")
}

// The majors of terminals, see the kernel's devices.txt.
const (
	majorTTY         = 4
	firstSerial      = 64
	firstPTY, endPTY = 136, 144
	minorsPerMajor   = 256
)

func terminal(dev uint64) string {
	major, minor := unix.Major(dev), unix.Minor(dev)
	switch {
	case dev == 0:
		return "?"
	case major >= firstPTY && major < endPTY:
		return fmt.Sprintf("pts/%d", (major-firstPTY)*minorsPerMajor+minor)
	case major == majorTTY && minor < firstSerial:
		return fmt.Sprintf("tty%d", minor)
	case major == majorTTY:
		return fmt.Sprintf("ttyS%d", minor-firstSerial)
	}
	return "?"
}

func cpuTime(seconds uint64) string {
	text := fmt.Sprintf("%02d:%02d:%02d", seconds/3600%24, seconds/60%60, seconds%60)
	if days := seconds / 86400; days > 0 {
		return fmt.Sprintf("%d-%s", days, text)
	}
	return text
}

// nameWidth is the width of ps's column; longer names end in a plus.
const nameWidth = 8

// userName is the host's name of a user, or the number.
func userName(uid uint32) string {
	text := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(text)
	switch {
	case err != nil || u.Username == "":
		return text
	case len(u.Username) > nameWidth:
		return u.Username[:nameWidth-1] + "+"
	}
	return u.Username
}
