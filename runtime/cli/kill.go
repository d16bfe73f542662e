package cli

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cli/config"
)

func killCommand(c *call) (int, error) {
	var all bool
	args, err := c.parse(flags{{names: "all a", set: &all, about: "send it to every process of the container"}}, 1, 2)
	if err != nil {
		return 0, err
	}
	sig := unix.SIGTERM
	if len(args) == 2 {
		if sig, err = parseSignal(args[1]); err != nil {
			return 0, err
		}
	}
	k, err := c.records.Open(args[0])
	if err != nil {
		return 0, err
	}
	defer k.Close()
	if all {
		return 0, k.SignalAll(sig)
	}
	if sig == unix.SIGKILL && !config.OwnsPids(k.SpecOrEmpty()) {
		if pids, err := k.Procs(); err == nil && len(pids) > 0 {
			return 0, k.SignalAll(sig) // the end of the first process would end no other
		}
	}
	if !k.Alive() {
		return 0, fault.New(fault.Conflict, "container not running: %s", k.ID)
	}
	return 0, k.Signal(sig)
}

// parseSignal takes a number or a name with or without SIG.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		const last = 64
		if n < 0 || n > last { // 0 only asks whether the process is there
			return 0, fault.New(fault.Invalid, "signal %d is not between 0 and %d", n, last)
		}
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if base, offset, ok := strings.Cut(name, "+"); ok && base == "SIGRTMIN" {
		if n, err := strconv.Atoi(offset); err == nil && n >= 0 && n <= 30 {
			const rtmin = 34 // as the C library counts
			return unix.Signal(rtmin + n), nil
		}
	}
	return 0, fault.New(fault.Invalid, "there is no signal %.40q; use a name like TERM or a number", s)
}
