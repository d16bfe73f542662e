package container

import (
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/snapshot"
)

// The buckets of the state store. A name maps to an id.
const (
	bucket      = "containers"
	namesBucket = "names"
)

// Record is all that is known of one container. A published record is never
// changed: a change makes a copy (see entry.begin), so that readers need no lock.
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
	Endpoints  map[string]*mobynet.EndpointSettings `json:",omitempty"`
	Mounts     []Mount                              `json:",omitempty"`
	Root       snapshot.Mount
	// BaseSize is the size of the image's layers.
	BaseSize int64

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
	// Stopped tells that a user ended it: unless-stopped leaves it alone then.
	Stopped bool `json:",omitempty"`

	// What the running processes and the kernel know is not stored.
	Pid      int               `json:"-"`
	Endpoint *network.Endpoint `json:"-"`
}

// Running tells whether processes of the container exist.
func (s *State) Running() bool {
	return s.Status == container.StateRunning || s.Status == container.StatePaused
}

// Mount is a mount the user or the image asked for, resolved.
type Mount struct {
	Type         mount.Type
	Name         string `json:",omitempty"` // of a volume
	Anonymous    bool   `json:",omitempty"` // the volume was made for this container
	Source       string // on the host
	Destination  string
	Mode         string            `json:",omitempty"` // as the user wrote it
	ReadOnly     bool              `json:",omitempty"`
	Propagation  mount.Propagation `json:",omitempty"`
	NonRecursive bool              `json:",omitempty"`
	// ShallowReadOnly leaves mounts below a read-only bind writable.
	ShallowReadOnly bool     `json:",omitempty"`
	Options         []string `json:",omitempty"` // of a tmpfs
	// FromMounts tells that it came from HostConfig.Mounts, not Binds or Tmpfs.
	FromMounts bool `json:",omitempty"`
	noCopy     bool
}

func (r *Record) clone() *Record {
	c := *r
	return &c
}

// dataMounts are the mounts that inspect shows; those of --tmpfs are in
// HostConfig.Tmpfs alone, as in Docker.
func (r *Record) dataMounts() []Mount {
	return slices.DeleteFunc(slices.Clone(r.Mounts), func(m Mount) bool { return m.Type == mount.TypeTmpfs && !m.FromMounts })
}
