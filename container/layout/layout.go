// Package layout says where a container's things are: on disk, on the tmpfs of
// its run, in the tree of control groups.
package layout

import (
	"path/filepath"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/runtime/systemd"
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
	// CgroupParent is the group above the containers'; "" is the default. With the
	// systemd driver it is a slice.
	CgroupParent string
	// Systemd makes the groups: each is a scope.
	Systemd bool
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

// Cgroup is the container's group below every hierarchy's root: where its last start has put
// it, whatever driver and parent this daemon was given.
func (p *Paths) Cgroup(r *record.Record) string {
	if r.State.Cgroup != "" {
		return r.State.Cgroup
	}
	return p.group(r.HostConfig.CgroupParent, r.ID)
}

// NextCgroup is what State.Cgroup becomes at a start: "" for the usual place.
func (p *Paths) NextCgroup(r *record.Record) string {
	if g := p.group(r.HostConfig.CgroupParent, r.ID); g != (&Paths{}).group("", r.ID) {
		return g
	}
	return ""
}

// CgroupOf is the group of a container of which only the id is known.
func (p *Paths) CgroupOf(id string) string { return p.group("", id) }

func (p *Paths) group(parent, id string) string {
	if parent == "" {
		parent = p.CgroupParent
	}
	if p.Systemd {
		return systemd.Name{Slice: parent, Unit: scopePrefix + "-" + id + ".scope"}.Path()
	}
	if parent == "" {
		parent = defaultCgroup
	}
	return filepath.Join("/", parent, id)
}

// scopePrefix begins the names of scopes, as in sampan-ID.scope.
const scopePrefix = "sampan"

// CgroupsPath is the same for the specification: a scope is named slice:prefix:name.
func (p *Paths) CgroupsPath(r *record.Record) string {
	group := p.Cgroup(r)
	if systemd.UnitOf(group) == "" {
		return group
	}
	slice := filepath.Base(filepath.Dir(group))
	if slice == "/" {
		slice = "-.slice"
	}
	return slice + ":" + scopePrefix + ":" + r.ID
}
