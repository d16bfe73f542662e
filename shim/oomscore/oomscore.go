// Package oomscore keeps a shim from the kernel's OOM killer, and its score from
// the processes that the shim starts.
package oomscore

import (
	"bytes"
	"os"
	"strconv"
)

// shimScore makes the kernel's OOM killer prefer any container to its shim:
// with the shim, the exit code and the log's last lines would be lost.
const shimScore = -500

// Score lowers our own OOM score and keeps it from what we start. Lowering needs
// CAP_SYS_RESOURCE; without it everything stays as it was.
type Score struct {
	original int
	lowered  bool
}

// Lower is called after the container's start, whose score the OCI spec sets.
func (o *Score) Lower() {
	const self = "/proc/self/oom_score_adj"
	raw, err := os.ReadFile(self)
	if err != nil {
		return
	}
	if o.original, err = strconv.Atoi(string(bytes.TrimSpace(raw))); err != nil || o.original <= shimScore {
		return
	}
	o.lowered = os.WriteFile(self, []byte(strconv.Itoa(shimScore)), 0) == nil
}

// Restore gives a process that inherited our score the one it would have had.
func (o *Score) Restore(pid int) {
	if o.lowered {
		os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(strconv.Itoa(o.original)), 0)
	}
}
