// Package container owns containers: their records, the table of state
// transitions, the verbs on them, their execs, logs, waiters and restore after
// a restart of the daemon.
//
// A container is one record in the state store and one immutable copy of it
// behind an atomic pointer. List and Inspect read that pointer only, so that a
// verb stuck on one container never delays them. A verb takes the container's
// own lock, does its work in named steps with an undo each, and changes the
// record in one place (transition.go). What a running container is made of
// (processes, streams, log, exit code) belongs to its shim, which outlives the
// daemon; this package talks to it through the Supervisor interface.
//
// Limits: user-defined networks and volume drivers other than local are refused
// by name for now.
package container

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/execs"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/state"
	"github.com/sampan-containers/sampan/volume"
)

// Options are the daemon's settings that reach containers.
type Options struct {
	DataRoot string // containers/ and volumes/ below it
	ExecRoot string // containers/ID below it: what ends with the machine's life

	CgroupParent string
	Defaults     request.Defaults
	Spec         ocispec.Defaults
	Log          *slog.Logger
}

// Dependencies are the services a Service stands on.
type Dependencies struct {
	Store      *state.Store
	Images     Images
	Snapshots  Snapshots
	Volumes    *volume.Local
	Networks   Networks
	Supervisor Supervisor
	Groups     Groups
	Events     Publisher
	Host       ocispec.Host
}

// Service holds the containers of one data root. All methods are safe for
// concurrent use. A container is named by its name, its id, or an unambiguous
// prefix of its id.
type Service struct {
	opts Options
	Dependencies
	log *slog.Logger

	mu    sync.RWMutex // guards the indexes; held for look-ups only
	byID  map[string]*entry
	names map[string]string // name → id, with those being created
	execs execs.Registry
	down  bool // no restart policy acts any more

	departed departed
	pruning  chan struct{} // holds one token while a prune runs

	wait   sync.WaitGroup
	ending context.Context // of the work in the background
	end    context.CancelFunc
}

// New makes the service with the records of the store; nothing is touched
// outside of memory until Restore, which must come before the first verb.
func New(o Options, d Dependencies) (*Service, error) {
	o.Defaults.Complete()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{opts: o, Dependencies: d, log: o.Log, byID: map[string]*entry{}, names: map[string]string{}, pruning: make(chan struct{}, 1)}
	s.ending, s.end = context.WithCancel(context.Background())
	err := d.Store.View(func(tx *state.Tx) error {
		if err := s.departed.load(tx); err != nil {
			return err
		}
		return tx.Each(bucket, func(id string, raw []byte) error {
			var r Record
			if err := json.Unmarshal(raw, &r); err != nil || r.ID != id || r.Config == nil || r.HostConfig == nil {
				// One damaged record must not keep the others from starting.
				s.log.Error("the record of a container is damaged; it is left out", "container", id, "error", err)
				return nil
			}
			s.byID[id] = newEntry(&r)
			s.names[r.Name] = id
			return nil
		})
	})
	return s, err
}

// save writes a record durably.
func (s *Service) save(r *Record) error {
	return s.Store.Batch(func(tx *state.Tx) error { return tx.Put(bucket, r.ID, r) })
}

// find returns a container by name, id or unambiguous prefix of an id.
func (s *Service) find(ref string) (*entry, error) {
	name := strings.TrimPrefix(ref, "/")
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e, ok := s.byID[ref]; ok {
		return e, nil
	}
	if e, ok := s.byID[s.names[name]]; ok {
		return e, nil
	}
	var match *entry
	if isHex(ref) {
		for id, e := range s.byID {
			if !strings.HasPrefix(id, ref) {
				continue
			}
			if match != nil {
				return nil, fault.New(fault.Invalid, "Multiple IDs found with provided prefix: %s", ref)
			}
			match = e
		}
	}
	if match == nil {
		return nil, noSuchContainer(ref)
	}
	return match, nil
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

// all returns the containers, newest first.
func (s *Service) all() []*entry {
	s.mu.RLock()
	list := make([]*entry, 0, len(s.byID))
	for _, e := range s.byID {
		list = append(list, e)
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b *entry) int {
		if c := b.record().Created.Compare(a.record().Created); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return list
}

// reserve takes a name for an id that is being created. An empty name invents one.
func (s *Service) reserve(name, id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "" {
		for attempt := 0; name == "" || s.names[name] != ""; attempt++ {
			name = request.InventName(attempt)
		}
	} else if owner, taken := s.names[name]; taken {
		return "", nameInUse(name, owner)
	}
	s.names[name] = id
	return name, nil
}

func (s *Service) unreserve(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name] == id {
		delete(s.names, name)
	}
}

func (s *Service) insert(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[e.id] = e
}

// Counts returns how many containers there are, by state.
func (s *Service) Counts() (total, running, paused, stopped int) {
	for _, e := range s.all() {
		total++
		switch e.record().State.Status {
		case container.StateRunning, container.StateRestarting:
			running++
		case container.StatePaused:
			paused++
		default:
			stopped++
		}
	}
	return total, running, paused, stopped
}

// UsedBy tells which containers were made from an image; image.Service asks it
// before it deletes.
func (s *Service) UsedBy(imageID string) []image.Container {
	var users []image.Container
	for _, e := range s.all() {
		if r := e.record(); r.ImageID == imageID {
			users = append(users, image.Container{ID: r.ID, Running: r.State.Running()})
		}
	}
	return users
}

// dataDir is where a container keeps what must survive the machine's reboot.
func (s *Service) dataDir(id string) string { return s.Snapshots.Dir(id) }

// runDir is where a container keeps what ends with its run; it is on tmpfs.
func (s *Service) runDir(id string) string { return filepath.Join(s.opts.ExecRoot, "containers", id) }

func (s *Service) logPath(id string) string { return filepath.Join(s.dataDir(id), "log", "json.log") }

func (s *Service) exitPath(id string) string { return filepath.Join(s.dataDir(id), "exit.json") }

// cgroupPath is the container's group below every hierarchy's root.
func (s *Service) cgroupPath(r *Record) string {
	parent := r.HostConfig.CgroupParent
	if parent == "" {
		parent = s.cgroupRoot()
	}
	return filepath.Join("/", parent, r.ID)
}

// defaultCgroup is the group above all containers' groups.
const defaultCgroup = "/sampan"
