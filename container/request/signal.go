package request

import (
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

const (
	// maxSignal is SIGRTMAX. The C library keeps 32 and 33 for itself.
	maxSignal = 64
	rtMin     = 34
)

// ParseSignal reads a name (KILL, SIGKILL, RTMIN+3) or a number.
func ParseSignal(text string) (syscall.Signal, error) {
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

// StopSignal is how a container is asked to end.
func StopSignal(c *container.Config) syscall.Signal {
	if c.StopSignal != "" {
		if sig, err := ParseSignal(c.StopSignal); err == nil {
			return sig
		}
	}
	return syscall.SIGTERM
}
