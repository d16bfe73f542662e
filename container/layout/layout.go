// Package layout says where a container's things are: on disk, on the tmpfs of
// its run, in the tree of control groups.
package layout

import (
	"path/filepath"

	"github.com/sampan-containers/sampan/container/record"
)

// defaultCgroup is the group above all containers' groups.
const defaultCgroup = "/sampan"

// Paths are the roots that everything lies below.
type Paths struct {
	// Data returns the directory of a container that survives a reboot.
	Data func(containerID string) string
	// ExecRoot holds what ends with the machine's life.
	ExecRoot string
	// Base is the layer on top of every image; "" for none.
	Base string
	// CgroupParent is the group above the containers'; "" is the default.
	CgroupParent string
}

// DataDir is where a container keeps what must survive the machine's reboot.
func (p *Paths) DataDir(id string) string { return p.Data(id) }

// Runs is the directory of all containers' run directories.
func (p *Paths) Runs() string { return filepath.Join(p.ExecRoot, "containers") }

// RunDir is where a container keeps what ends with its run; it is on tmpfs.
func (p *Paths) RunDir(id string) string { return filepath.Join(p.Runs(), id) }

// LogPath is the file of a container's log: its name tells its format.
func (p *Paths) LogPath(r *record.Record) string {
	name := "json.log"
	if r.HostConfig.LogConfig.Type == "local" {
		name = "local.log"
	}
	return filepath.Join(p.DataDir(r.ID), "log", name)
}

// ExitPath is the file in which the shim leaves how a run ended.
func (p *Paths) ExitPath(id string) string { return filepath.Join(p.DataDir(id), "exit.json") }

// Cgroup is the container's group below every hierarchy's root.
func (p *Paths) Cgroup(r *record.Record) string {
	parent := r.HostConfig.CgroupParent
	if parent == "" {
		parent = p.CgroupRoot()
	}
	return filepath.Join("/", parent, r.ID)
}

// CgroupRoot is the group above those of containers that ask for no other.
func (p *Paths) CgroupRoot() string {
	if p.CgroupParent != "" {
		return p.CgroupParent
	}
	return defaultCgroup
}
