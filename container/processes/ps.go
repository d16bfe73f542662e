package processes

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

// maxOutput bounds what ps may print: all processes of a large host, with long
// command lines.
const maxOutput = 16 << 20

// renamed finds a column that is called PID without being one: rows are chosen by
// that column.
var renamed = regexp.MustCompile(`\s+(\S*)=\s*(PID\S*)`)

// ps runs the host's ps with the user's options and returns the rows of the
// processes given.
func ps(ctx context.Context, options string, pids []int) (titles []string, rows [][]string, err error) {
	if m := renamed.FindStringSubmatch(options); m != nil && m[1] != "pid" {
		return nil, nil, fault.New(fault.Invalid, "specifying \"%s=%s\" is not allowed", m[1], m[2])
	}
	if strings.IndexByte(options, 0) >= 0 {
		return nil, nil, fault.New(fault.Invalid, "invalid ps options %q: a NUL byte is not allowed", options)
	}
	ps, err := exec.LookPath("ps")
	if err != nil {
		return nil, nil, fault.New(fault.NotImplemented, "top with the options %q needs the program ps on the engine's host, and there is none (install procps; without options it is not needed)", options)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	words := strings.Fields(options)
	output, err := run(ctx, ps, append(slices.Clone(words), "-q"+joined(pids))...)
	if err != nil && ctx.Err() == nil {
		// Some options (f, for one) do not go with a list of processes.
		output, err = run(ctx, ps, words...)
	}
	switch {
	case ctx.Err() != nil:
		return nil, nil, fault.New(fault.Deadline, "ps does not answer: %w", context.Cause(ctx))
	case err != nil:
		return nil, nil, err
	}
	return parse(output, pids)
}

func joined(pids []int) string {
	words := make([]string, len(pids))
	for i, p := range pids {
		words[i] = strconv.Itoa(p)
	}
	return strings.Join(words, ",")
}

// limited keeps the first bytes and fails beyond.
type limited struct{ bytes.Buffer }

var errTooMuch = errors.New("ps prints too much")

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxOutput {
		return 0, errTooMuch
	}
	return l.Buffer.Write(p)
}

func run(ctx context.Context, ps string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, ps, args...)
	cmd.WaitDelay = time.Second
	var out, errOut limited
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		// The first line says why; the rest is a help text.
		if line, _, _ := strings.Cut(strings.TrimSpace(errOut.String()), "\n"); line != "" {
			return "", fault.New(fault.Invalid, "ps: %s", line)
		}
		return "", fault.New(fault.Invalid, "ps: %w", err)
	}
	return out.String(), nil
}

// parse picks the rows of the processes out of ps's table. Threads follow their
// process with a dash for its number. The last column may hold blanks.
func parse(output string, pids []int) (titles []string, rows [][]string, err error) {
	head, body, _ := strings.Cut(output, "\n")
	titles = strings.Fields(head)
	column := slices.Index(titles, "PID")
	if column < 0 {
		return nil, nil, fault.New(fault.Invalid, "Couldn't find PID field in ps output (choose it with the options)")
	}
	rows = [][]string{}
	ours := false
	for line := range strings.Lines(body) {
		f := strings.Fields(line)
		if len(f) <= column {
			continue
		}
		if f[column] != "-" {
			pid, err := strconv.Atoi(f[column])
			if err != nil {
				return nil, nil, fault.New(fault.Invalid, "Unexpected pid '%s' in ps output", f[column])
			}
			ours = slices.Contains(pids, pid)
		}
		if !ours {
			continue
		}
		if last := len(titles) - 1; len(f) > last {
			f = append(f[:last:last], strings.Join(f[last:], " "))
		}
		for i := range f {
			f[i] = printable(f[i])
		}
		rows = append(rows, f)
	}
	return titles, rows, nil
}
