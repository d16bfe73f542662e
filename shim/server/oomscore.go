package server

import (
	"bytes"
	"os"
	"strconv"
)

// shimOOMScore makes the kernel's OOM killer prefer any container to its shim:
// with the shim, the exit code and the log's last lines would be lost.
const shimOOMScore = -500

// oomScore lowers our own OOM score and keeps it from what we start. Lowering
// needs CAP_SYS_RESOURCE; without it everything stays as it was.
type oomScore struct {
	original int
	lowered  bool
}

// lower is called after the container's start, whose score the OCI spec sets.
func (o *oomScore) lower() {
	const self = "/proc/self/oom_score_adj"
	raw, err := os.ReadFile(self)
	if err != nil {
		return
	}
	if o.original, err = strconv.Atoi(string(bytes.TrimSpace(raw))); err != nil || o.original <= shimOOMScore {
		return
	}
	o.lowered = os.WriteFile(self, []byte(strconv.Itoa(shimOOMScore)), 0) == nil
}

// restore gives a process that inherited our score the one it would have had.
func (o *oomScore) restore(pid int) {
	if o.lowered {
		os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(strconv.Itoa(o.original)), 0)
	}
}
