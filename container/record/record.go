// Package record holds what is known of one container, the states it may be in
// and how they follow each other, and what its restart policy says. It is data:
// package container changes it, and package index keeps it.
package record

import (
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/snapshot"
)

// Record is all that is known of one container. A published record is never
// changed: a change makes a copy, so that readers need no lock.
type Record struct {
	ID       string
	Name     string // without Docker's leading slash
	Created  time.Time
	ImageID  string
	Platform string

	Path string
	Args []string
	// Config and HostConfig are merged with the image's and normalised. They are
	// shared by all copies of the record and never changed after Create.
	Config     *container.Config
	HostConfig *container.HostConfig
	// DefaultNetwork tells that no network was asked for: clients below 1.44 are
	// told "default" then, and what was asked for otherwise.
	DefaultNetwork bool                                 `json:",omitempty"`
	Endpoints      map[string]*mobynet.EndpointSettings `json:",omitempty"`
	Mounts         []mounts.Mount                       `json:",omitempty"`
	Root           snapshot.Mount
	// BaseSize is the size of the image's layers.
	BaseSize int64

	// HealthAction is what follows when the container becomes unhealthy: "" or one
	// of package health's. After names the containers that a new daemon starts
	// first; with ":healthy" it waits for their health too. Both come from labels
	// of the create request.
	HealthAction string   `json:",omitempty"`
	After        []string `json:",omitempty"`

	State State
}

// State is the part of a record that changes.
type State struct {
	Status       container.ContainerState
	ExitCode     int
	Error        string `json:",omitempty"`
	OOMKilled    bool   `json:",omitempty"`
	StartedAt    time.Time
	FinishedAt   time.Time
	RestartCount int `json:",omitempty"`
	// NetworkID is the network of the mode at the last start, OtherNetworks
	// those beside it, by name.
	NetworkID     string            `json:",omitempty"`
	OtherNetworks map[string]string `json:",omitempty"`
	// Remap are the id maps of the last start; nil is the host's user namespace.
	Remap *userns.Remap `json:",omitempty"`
	// Cgroup is the control group of the last start, where it is not the usual one.
	Cgroup string `json:",omitempty"`
	// Health is nil for a container without a health check.
	Health *container.Health `json:",omitempty"`
	// Stopped tells that a user ended it: unless-stopped leaves it alone then.
	Stopped bool `json:",omitempty"`

	// What the running processes and the kernel know is not stored.
	Pid int             `json:"-"`
	Net *network.Joined `json:"-"` // nil without networks of its own
}

// Running tells whether processes of the container exist.
func (s *State) Running() bool {
	return s.Status == container.StateRunning || s.Status == container.StatePaused
}

// Clone copies the record; Config and HostConfig are shared.
func (r *Record) Clone() *Record {
	c := *r
	return &c
}

// DataMounts are the mounts that inspect shows; those of --tmpfs are in
// HostConfig.Tmpfs alone, as in Docker.
func (r *Record) DataMounts() []mounts.Mount {
	return slices.DeleteFunc(slices.Clone(r.Mounts), func(m mounts.Mount) bool { return m.Type == mount.TypeTmpfs && !m.FromMounts })
}

// Anonymous lists the volumes that were made for this container alone.
func (r *Record) Anonymous() []string {
	var names []string
	for _, m := range r.Mounts {
		if m.Type == mount.TypeVolume && m.Anonymous {
			names = append(names, m.Name)
		}
	}
	return names
}

// MaxSize bounds a record: every container's is kept in memory.
const MaxSize = 4 << 20

// Size estimates the part of the record that the user's texts make up.
func (r *Record) Size() int {
	n := 0
	for _, e := range r.Config.Env {
		n += len(e)
	}
	for _, a := range r.Args {
		n += len(a)
	}
	for k, v := range r.Config.Labels {
		n += len(k) + len(v)
	}
	return n
}
