package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/ocijson"
)

const (
	defaultRoot = "/run/sampan-runtime"
	stateFile   = "state.json"
	// maxState bounds a record, which holds the specification.
	maxState = config.Max + 64<<10
	maxID    = 255
)

// record is a container's state.json.
type record struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"init_process_pid"`
	Start       uint64            `json:"init_process_start"` // in clock ticks since boot: tells a reused pid
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Cgroup      string            `json:"cgroup"`
	Unit        string            `json:"systemd_unit,omitempty"` // the group's, where systemd has made it
	Annotations map[string]string `json:"annotations,omitempty"`
	KeepKeyring bool              `json:"no_new_keyring,omitempty"`
	Config      json.RawMessage   `json:"config"` // the bundle's config.json
	Spec        *specs.Spec       `json:"-"`      // the same, decoded
}

// The states of the OCI specification, and runc's for a frozen container.
const (
	created = "created"
	running = "running"
	stopped = "stopped"
	paused  = "paused"
)

// container is an opened record: its directory is locked until close.
type container struct {
	id   string
	path string
	dir  *os.File
	record
}

func checkID(id string) error {
	if weak.Off("names") {
		return nil
	}
	ok := id != "" && id != "." && id != ".." && len(id) <= maxID
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '+' || c == '-' || c == '.'
	}
	if !ok {
		return fault.New(fault.Invalid, "container id %.80q is not made of up to %d letters, digits and _ + - .", id, maxID)
	}
	return nil
}

// make creates the directory of a new container and locks it.
func (c *call) make(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	// The record holds the environment of the container, and the socket that
	// starts it: nobody else may look.
	if err := os.MkdirAll(c.root, 0o700); err != nil {
		return nil, fmt.Errorf("make the root of the records: %w", err)
	}
	if c.sticky { // what tidies a user's runtime directory leaves it then (XDG base directories)
		_ = os.Chmod(c.root, 0o700|os.ModeSticky)
	}
	k := &container{id: id, path: filepath.Join(c.root, id)}
	for {
		if err := os.Mkdir(k.path, 0o700); err != nil {
			if errors.Is(err, os.ErrExist) {
				return nil, fault.New(fault.Conflict, "container with id exists: %s; delete it first, or choose another id", id)
			}
			return nil, fmt.Errorf("make the record of container %s: %w", id, err)
		}
		err := k.lock()
		if errors.Is(err, fault.NotFound) {
			continue // a delete --force came in between
		}
		if err != nil {
			return nil, err
		}
		return k, nil
	}
}

// lock opens the directory and waits for its lock. A directory that was removed
// while we waited is NotFound.
func (k *container) lock() error {
	fd, err := unix.Open(k.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return fault.New(fault.NotFound, "container %s does not exist", k.id)
	}
	if err != nil {
		return fmt.Errorf("open the record of container %s: %w", k.id, err)
	}
	k.dir = os.NewFile(uintptr(fd), k.path)
	for {
		if err = unix.Flock(fd, unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		k.close()
		return fmt.Errorf("lock the record of container %s: %w", k.id, err)
	}
	var have, want unix.Stat_t
	if unix.Fstat(fd, &have) != nil || unix.Lstat(k.path, &want) != nil || have.Ino != want.Ino || have.Dev != want.Dev {
		k.close()
		return fault.New(fault.NotFound, "container %s does not exist", k.id)
	}
	return nil
}

// open finds a container and locks it.
func (c *call) open(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	k := &container{id: id, path: filepath.Join(c.root, id)}
	if err := k.lock(); err != nil {
		return nil, err
	}
	if err := k.read(); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *container) read() error {
	f, err := os.Open(filepath.Join(k.path, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.NotFound, "container %s was not created completely; remove it with delete --force", k.id)
	}
	if err != nil {
		return fmt.Errorf("read the record of container %s: %w", k.id, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState))
	if err == nil {
		err = json.Unmarshal(data, &k.record)
	}
	if err == nil {
		k.Spec, err = ocijson.Decode(k.Config)
	}
	if err != nil {
		return fmt.Errorf("read the record of container %s: %w", k.id, err)
	}
	return nil
}

// save writes the record. Nothing is synced: it lies on a tmpfs and means nothing
// after a crash of the machine.
func (k *container) save() error {
	return replace(filepath.Join(k.path, stateFile), k.encode(), 0o600)
}

// encode is json.Marshal for a record, without the tenth of a millisecond that
// reflection takes at the first use of a type.
func (r *record) encode() []byte {
	b := make([]byte, 0, len(r.Config)+1024)
	text := func(name, value string) {
		quoted, _ := json.Marshal(value) // of a string: it cannot fail
		b = append(append(append(b, name...), quoted...), ',')
	}
	text(`{"ociVersion":`, r.Version)
	text(`"id":`, r.ID)
	b = append(strconv.AppendInt(append(b, `"init_process_pid":`...), int64(r.Pid), 10), ',')
	b = append(strconv.AppendUint(append(b, `"init_process_start":`...), r.Start, 10), ',')
	text(`"bundle":`, r.Bundle)
	text(`"rootfs":`, r.Rootfs)
	text(`"created":`, r.Created.Format(time.RFC3339Nano))
	text(`"cgroup":`, r.Cgroup)
	if r.Unit != "" {
		text(`"systemd_unit":`, r.Unit)
	}
	if len(r.Annotations) > 0 {
		all, _ := json.Marshal(r.Annotations) // of strings
		b = append(append(append(b, `"annotations":`...), all...), ',')
	}
	if r.KeepKeyring {
		b = append(b, `"no_new_keyring":true,`...)
	}
	b = append(append(b, `"config":`...), r.Config...)
	return append(b, '}')
}

// replace writes a file so that nobody sees half of it.
func replace(name string, data []byte, mode os.FileMode) error {
	temp := name + ".new"
	if err := os.WriteFile(temp, data, mode); err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		os.Remove(temp)
		return err
	}
	return nil
}

func (k *container) close() {
	if k.dir != nil {
		k.dir.Close() // this gives the lock back
		k.dir = nil
	}
}

// remove deletes the record.
func (k *container) remove() error {
	// What is there as a rule, without looking.
	_ = unix.Unlink(filepath.Join(k.path, stateFile))
	if k.Spec != nil && k.Spec.Linux != nil && k.Spec.Linux.CgroupsPath != "" {
		_ = unix.Unlink(filepath.Join(k.path, hintGroup))
	}
	if unix.Rmdir(k.path) == nil {
		return nil
	}
	root, err := inroot.Open(filepath.Dir(k.path))
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.RemoveAll(k.id); err != nil {
		return fmt.Errorf("remove the record of container %s: %w", k.id, err)
	}
	return nil
}

// alive reports whether the container's first process is there, and was not
// replaced by a stranger with its number.
func (k *container) alive() bool {
	start, state, err := processStart(k.Pid)
	return err == nil && start == k.Start && state != 'Z' && state != 'X'
}

func (k *container) status() string {
	if !k.alive() {
		return stopped
	}
	if _, err := os.Lstat(filepath.Join(k.path, startSocket)); err == nil {
		return created
	}
	if g, err := k.group(); err == nil {
		defer g.Close()
		if frozen, err := g.Frozen(); err == nil && frozen {
			return paused
		}
	}
	return running
}

// hintGroup and hintMount are links beside a record, for what a create that is killed on
// its way leaves behind and delete --force could not find otherwise: a group of another
// than the default path, a unit of systemd, a root in the host's mount table.
const (
	hintGroup = "cgroup"
	hintUnit  = "unit"
	hintMount = "mounted"
)

// leaveHints is called before the first of these things is made.
func (k *container) leaveHints(spec *specs.Spec, bundle string, group *groupPlan) error {
	hints := map[string]string{}
	if spec.Linux != nil && spec.Linux.CgroupsPath != "" || group.unit != nil {
		hints[hintGroup] = group.path
	}
	if group.unit != nil {
		hints[hintUnit] = group.unit.Unit
	}
	if place := hostRoot(spec, bundle); place != "" {
		hints[hintMount] = place
	}
	for name, target := range hints {
		if err := os.Symlink(target, filepath.Join(k.path, name)); err != nil {
			return fmt.Errorf("record what container %s will use: %w", k.id, err)
		}
	}
	return nil
}

func (k *container) hint(name, otherwise string) string {
	if target, err := os.Readlink(filepath.Join(k.path, name)); err == nil {
		return target
	}
	return otherwise
}

// hostRoot is where a container without a mount namespace of its own has its root, or
// nothing.
func hostRoot(spec *specs.Spec, bundle string) string {
	if spec.Linux != nil {
		for _, ns := range spec.Linux.Namespaces {
			if ns.Type == specs.MountNamespace {
				return ""
			}
		}
	}
	if filepath.IsAbs(spec.Root.Path) {
		return spec.Root.Path
	}
	return filepath.Join(bundle, spec.Root.Path)
}

// startSocket is what runtime.Listen makes and runtime.Release removes.
const startSocket = "start.sock"

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

// state is what hooks and the command state show.
func (k *container) state(status string) *specs.State {
	s := &specs.State{Version: k.Version, ID: k.id, Status: specs.ContainerState(status), Bundle: k.Bundle, Annotations: k.Annotations}
	if status != stopped {
		s.Pid = k.Pid
	}
	return s
}
