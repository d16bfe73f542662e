// Package record keeps what the commands know of a container between two calls: a
// directory ROOT/ID with state.json, which is locked (flock) while a command changes
// the container. ROOT should be on a tmpfs: a record does not survive a boot any more
// than the container does.
//
// An opened record answers for its container too: whether it lives, in which state it
// is, which processes and which control group are its own.
package record

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/rdt"
)

const (
	stateFile = "state.json"
	// maxState bounds a record, which holds the specification.
	maxState = config.Max + 64<<10
)

// Record is a container's state.json.
type Record struct {
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

// Container is an opened record. Its directory is locked until Close, unless it came
// from Peek.
type Container struct {
	Record
	dir    string
	locked *os.File // nil: not locked
}

// Dir is the container's directory. Only root, or the user who made it, may look into it.
func (k *Container) Dir() string { return k.dir }

// Begun notes the first process of the container.
func (k *Container) Begun(pid int) (err error) {
	k.Pid = pid
	k.Start, _, err = processStart(pid)
	return err
}

// Save writes the record. Nothing is synced: it lies on a tmpfs and means nothing
// after a crash of the machine.
func (k *Container) Save() error {
	return Replace(filepath.Join(k.dir, stateFile), k.encode(), 0o600)
}

// encode is json.Marshal for a record, without the tenth of a millisecond that
// reflection takes at the first use of a type.
func (r *Record) encode() []byte {
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

// Replace writes a file so that nobody sees half of it.
func Replace(name string, data []byte, mode os.FileMode) error {
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

// Close gives the lock back.
func (k *Container) Close() {
	if k.locked != nil {
		k.locked.Close()
		k.locked = nil
	}
}

// Remove deletes the record.
func (k *Container) Remove() error {
	// What is there as a rule, without looking.
	_ = unix.Unlink(filepath.Join(k.dir, stateFile))
	if k.Spec != nil && k.Spec.Linux != nil && k.Spec.Linux.CgroupsPath != "" {
		_ = unix.Unlink(filepath.Join(k.dir, HintGroup))
	}
	if unix.Rmdir(k.dir) == nil {
		return nil
	}
	root, err := inroot.Open(filepath.Dir(k.dir))
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.RemoveAll(k.ID); err != nil {
		return fmt.Errorf("remove the record of container %s: %w", k.ID, err)
	}
	return nil
}

// SpecOrEmpty is the specification, also of a container that was killed while it was made.
func (k *Container) SpecOrEmpty() *specs.Spec {
	if k.Spec == nil {
		return &specs.Spec{}
	}
	return k.Spec
}

// LeaveRDT removes the container's resctrl group.
func (k *Container) LeaveRDT() error {
	if k.Spec != nil && (k.Spec.Linux == nil || k.Spec.Linux.IntelRdt == nil) {
		return nil // the rule; without a specification it was killed while it was made
	}
	return rdt.Leave(k.dir)
}
