package container

import (
	"regexp"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/execs"
	"github.com/sampan-containers/sampan/container/files"
	"github.com/sampan-containers/sampan/container/stream"
	"github.com/sampan-containers/sampan/container/usage"
	"github.com/sampan-containers/sampan/event/filter"
)

// CreateOptions is the body of a create request. Service.Create takes
// ownership of the pointed-to values.
type CreateOptions struct {
	ID               string // from Announce; empty: a new one
	Name             string // without a leading slash is fine; empty: one is invented
	Platform         string
	ShallowReadOnly  bool // read-only binds of -v leave the mounts below them writable
	Config           *container.Config
	HostConfig       *container.HostConfig
	NetworkingConfig *network.NetworkingConfig
}

// StopOptions says how a container is asked to end.
type StopOptions struct {
	Signal  string // empty: the container's own stop signal, then SIGTERM
	Timeout *int   // seconds; nil: the container's own, then 10; negative: wait for ever
}

// RemoveOptions says what Remove takes away.
type RemoveOptions struct {
	Force   bool // kill it first if it runs
	Volumes bool // its anonymous volumes too
	Link    bool // remove a link, not a container: refused by name
}

// Filters are docker's list filters: every key must match, any of a key's
// values is enough.
type Filters = filter.Args

// ListOptions selects and shapes the answer of List.
type ListOptions struct {
	All     bool // not only the running ones
	Limit   int  // the newest n; 0 is all. A limit implies All, as in docker
	Size    bool // compute SizeRw and SizeRootFs (reads the disk)
	Brief   bool // without labels, mounts and networks
	Filters Filters
}

// LogsOptions selects log entries.
type LogsOptions struct {
	Stdout, Stderr bool
	Follow         bool
	Timestamps     bool // each line starts with its RFC 3339 time
	Details        bool // each line carries the driver's attributes
	Since, Until   time.Time
	Tail           int // -1 is all
	// Grep chooses lines of those that the rest chooses; nil: all of them.
	Grep *regexp.Regexp
}

// Hijack takes over a client's connection.
type Hijack = stream.Hijack

// AttachOptions says which streams a client wants.
type AttachOptions struct {
	Stream                bool // live streams; without it only Logs
	Logs                  bool // what the log holds first
	Stdin, Stdout, Stderr bool
	DetachKeys            string // empty: ctrl-p,ctrl-q
	End                   bool   // tell of the exit code in a last frame, see wire.FrameEnd
	Hijack                Hijack
}

// The options of the verbs that live in packages below this one.
type (
	ExecStartOptions = execs.StartOptions
	ExtractOptions   = files.ExtractOptions
	CommitOptions    = files.CommitOptions
	StatsOptions     = usage.StatsOptions
	StatsSample      = usage.Sample
)
