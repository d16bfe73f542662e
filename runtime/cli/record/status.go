package record

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The states of the OCI specification, and runc's for a frozen container.
const (
	Created = "created"
	Running = "running"
	Stopped = "stopped"
	Paused  = "paused"
)

// startSocket is what runtime.Listen makes and runtime.Release removes.
const startSocket = "start.sock"

// Alive reports whether the container's first process is there, and was not
// replaced by a stranger with its number.
func (k *Container) Alive() bool {
	start, state, err := processStart(k.Pid)
	return err == nil && start == k.Start && state != 'Z' && state != 'X'
}

// Status is one of the states.
func (k *Container) Status() string {
	if !k.Alive() {
		return Stopped
	}
	if _, err := os.Lstat(filepath.Join(k.dir, startSocket)); err == nil {
		return Created
	}
	if g, err := k.Group(); err == nil {
		defer g.Close()
		if frozen, err := g.Frozen(); err == nil && frozen {
			return Paused
		}
	}
	return Running
}

// State is what hooks and the command state show.
func (k *Container) State(status string) *specs.State {
	s := &specs.State{Version: k.Version, ID: k.ID, Status: specs.ContainerState(status), Bundle: k.Bundle, Annotations: k.Annotations}
	if status != Stopped {
		s.Pid = k.Pid
	}
	return s
}

// processStart reads the start time and the state of a process, fields 22 and 3
// of proc_pid_stat(5). The name in field 2 may hold anything.
func processStart(pid int) (start uint64, state byte, err error) {
	if pid <= 0 {
		return 0, 0, os.ErrProcessDone
	}
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	text := string(data)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("unexpected text in /proc/%d/stat", pid)
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return start, f[0][0], err
}
