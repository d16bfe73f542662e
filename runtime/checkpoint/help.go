package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/ocijson"
)

// maxRequest and maxSpec bound what the helper reads.
const (
	maxRequest = 64 << 10
	maxSpec    = 16 << 20
)

// Request asks for the dump of a container that has no record of the command line: one
// of the engine's.
type Request struct {
	ID, Bundle, Cgroup string
	Pid                int
	Images, Work       string
	LeaveRunning       bool
}

// Help serves one Request, in a process of its own: "sampan-runtime dump".
func Help(in io.Reader) error {
	var r Request
	if err := json.NewDecoder(io.LimitReader(in, maxRequest)).Decode(&r); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	f, err := os.Open(filepath.Join(r.Bundle, "config.json"))
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSpec))
	if err != nil {
		return err
	}
	spec, err := ocijson.Decode(data)
	if err != nil {
		return err
	}
	if spec.Linux == nil {
		return errors.New("the specification has no linux section")
	}
	g, err := cgroup.Load(r.Cgroup)
	if err != nil {
		return err
	}
	defer g.Close()
	// The engine has made the network, and makes it again for the next run.
	if ns := namespaceOf(spec, specs.NetworkNamespace); ns != nil && ns.Path == "" {
		ns.Path = fmt.Sprintf("/proc/%d/ns/net", r.Pid)
	}
	s := &Subject{ID: r.ID, Spec: spec, Root: fmt.Sprintf("/proc/%d/root", r.Pid), Pid: r.Pid, Groups: g.Paths()}
	inside, err := innerPid(r.Pid)
	if err != nil {
		return err
	}
	if err := Dump(s, &Options{Images: r.Images, Work: r.Work, LeaveRunning: r.LeaveRunning, StatusFD: -1, FileLocks: true, TCPEstablished: true, ExtUnixSockets: true, emptyNet: true}); err != nil {
		return err
	}
	return clearDeathSignal(r.Images, inside)
}

// innerPid is the number that criu has for a process: in its own PID namespace.
func innerPid(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, list, _ := strings.Cut(string(status), "\nNSpid:")
	list, _, _ = strings.Cut(list, "\n")
	numbers := strings.Fields(list)
	if len(numbers) == 0 {
		return 0, errors.New("the kernel does not tell the number of a process in its namespace")
	}
	return strconv.Atoi(numbers[len(numbers)-1])
}
