package usage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

// The columns of /proc/net/dev after the interface's name.
const (
	rxBytes, rxPackets, rxErrors, rxDropped = 0, 1, 2, 3
	txBytes, txPackets, txErrors, txDropped = 8, 9, 10, 11
	netColumns                              = 16
)

// interfaces reads the counters of a network namespace's interfaces, without the
// loopback, from a process's view of /proc/net/dev: no namespace is entered.
func interfaces(path string) (map[string]container.NetworkStats, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, gone()
		}
		return nil, fmt.Errorf("network counters: %w", err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, maxFile)); err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESRCH) {
			return nil, gone() // the process ended while we looked
		}
		return nil, fmt.Errorf("network counters: %w", err)
	}
	return parseInterfaces(b.String()), nil
}

func parseInterfaces(text string) map[string]container.NetworkStats {
	out := map[string]container.NetworkStats{}
	for line := range strings.Lines(text) {
		// An interface's name may hold a colon (an alias), the numbers do not.
		i := strings.LastIndexByte(line, ':')
		if i < 0 {
			continue
		}
		name, f := strings.TrimSpace(line[:i]), strings.Fields(line[i+1:])
		if name == "lo" || len(f) < netColumns {
			continue
		}
		var n [netColumns]uint64
		ok := true
		for c := range n {
			var err error
			n[c], err = strconv.ParseUint(f[c], 10, 64)
			ok = ok && err == nil
		}
		if ok {
			out[name] = container.NetworkStats{
				RxBytes: n[rxBytes], RxPackets: n[rxPackets], RxErrors: n[rxErrors], RxDropped: n[rxDropped],
				TxBytes: n[txBytes], TxPackets: n[txPackets], TxErrors: n[txErrors], TxDropped: n[txDropped],
			}
		}
	}
	return out
}
