package container

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	nullSignal = syscall.Signal(0)
	// maxSignal is SIGRTMAX. The C library keeps 32 and 33 for itself.
	maxSignal = 64
	rtMin     = 34
)

// parseSignal reads a name (KILL, SIGKILL, RTMIN+3) or a number.
func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > maxSignal {
			return 0, invalid("invalid signal: %s", text)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	for prefix, base := range map[string]int{"RTMIN": rtMin, "RTMAX": maxSignal} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		offset := 0
		if rest != "" {
			var err error
			if offset, err = strconv.Atoi(rest); err != nil {
				break
			}
		}
		if n := base + offset; n >= rtMin && n <= maxSignal {
			return syscall.Signal(n), nil
		}
	}
	return 0, invalid("invalid signal: %s", text)
}

// stopSignal is how a container is asked to end.
func stopSignal(r *Record) syscall.Signal {
	if r.Config.StopSignal != "" {
		if sig, err := parseSignal(r.Config.StopSignal); err == nil {
			return sig
		}
	}
	return syscall.SIGTERM
}
