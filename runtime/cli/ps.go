package cli

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

func psCommand(c *call) (int, error) {
	var format string
	f := flags{{names: "format f", text: &format, about: `select one of: table or json (default: "table")`}}
	rest, err := f.parse(c.args, false)
	if err != nil {
		return 0, err
	}
	if len(rest) == 0 {
		return 0, &wrongUsage{`"ps" requires a minimum of 1 argument(s)`, f}
	}
	k, err := c.records.Peek(rest[0])
	if err != nil {
		return 0, err
	}
	pids, err := k.Procs()
	if err != nil {
		return 0, err
	}
	switch format {
	case "json":
		if pids == nil {
			pids = []int{}
		}
		data, err := json.Marshal(pids)
		if err != nil {
			return 0, err
		}
		_, err = c.Stdout.Write(append(data, '\n'))
		return 0, err
	case "", "table":
	default:
		return 0, fault.New(fault.Invalid, "invalid format option %q: it must be table or json", format)
	}
	options := rest[1:]
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	return 0, c.filterPs(options, pids)
}

// filterPs runs the host's ps and prints the heading and the lines of the processes.
func (c *call) filterPs(options []string, pids []int) error {
	out, err := exec.Command("ps", options...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, strings.TrimSpace(string(out)))
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	column := slices.Index(strings.Fields(lines[0]), "PID")
	if column < 0 {
		return fault.New(fault.Invalid, "couldn't find PID field in ps output: the options %q must print it", options)
	}
	var b strings.Builder
	b.WriteString(lines[0] + "\n")
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if column >= len(f) {
			continue
		}
		if pid, err := strconv.Atoi(f[column]); err == nil && slices.Contains(pids, pid) {
			b.WriteString(line + "\n")
		}
	}
	_, err = c.Stdout.Write([]byte(b.String()))
	return err
}
