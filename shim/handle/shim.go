package handle

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/wire"
)

// ErrLost reports that a shim died without a word: its container's first
// process was killed with it, the cgroup is still there.
var ErrLost = errors.New("the supervisor of the container was killed")

// Shim is one running supervisor.
type Shim struct {
	id, runDir string
	pid        int
	startedAt  time.Time
	shimPid    int
	cmd        *exec.Cmd // nil for one that an earlier daemon started

	writing chan struct{} // holds one token: who has it may write a frame

	mu       sync.Mutex
	conn     *net.UnixConn
	dropped  bool
	next     uint32
	waiting  map[uint32]chan frame // closed when the connection ends
	warn     func(string)
	warnings []string // until OnWarning is called

	done   chan struct{}
	over   bool
	exit   *wire.ExitRecord
	reaped sync.Once
}

func newShim(id, runDir string, conn *net.UnixConn, cmd *exec.Cmd) *Shim {
	s := &Shim{
		id: id, runDir: runDir, conn: conn, cmd: cmd,
		writing: make(chan struct{}, 1),
		waiting: map[uint32]chan frame{},
		done:    make(chan struct{}),
	}
	if cmd != nil {
		s.shimPid = cmd.Process.Pid
	}
	return s
}

// ID is the container's.
func (s *Shim) ID() string { return s.id }

// Pid is the container's first process, in the host's pid namespace.
func (s *Shim) Pid() int { return s.pid }

// ShimPid is the supervisor's process.
func (s *Shim) ShimPid() int { return s.shimPid }

// StartedAt is the time of the container's execve.
func (s *Shim) StartedAt() time.Time { return s.startedAt }

// Done closes when the run is over: the exit record is written, and cgroup,
// namespaces and sockets are gone; or when the shim is lost.
func (s *Shim) Done() <-chan struct{} { return s.done }

// Exit tells how the run ended, or ErrLost. Call it after Done.
func (s *Shim) Exit() (wire.ExitRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exit == nil {
		return wire.ExitRecord{}, ErrLost
	}
	return *s.exit, nil
}

// OnWarning sets the receiver of degraded steps (log lines lost, a limit that
// could not be set). Warnings that came earlier are delivered at once.
func (s *Shim) OnWarning(f func(string)) {
	s.mu.Lock()
	early := s.warnings
	s.warn, s.warnings = f, nil
	s.mu.Unlock()
	for _, text := range early {
		f(text)
	}
}

// maxEarlyWarnings bounds what is kept until OnWarning.
const maxEarlyWarnings = 16

func (s *Shim) warned(text string) {
	s.mu.Lock()
	f := s.warn
	if f == nil && len(s.warnings) < maxEarlyWarnings {
		s.warnings = append(s.warnings, text)
	}
	s.mu.Unlock()
	if f != nil {
		f(text)
	}
}

// welcome takes over what the shim's Hello says.
func (s *Shim) welcome(f frame) error {
	if f.Type != wire.TypeHello {
		return fmt.Errorf("shim in %s: the first frame is of type %d, not a hello", s.runDir, f.Type)
	}
	h, err := wire.DecodeHello(f.payload)
	if err != nil {
		return fmt.Errorf("shim in %s: hello: %w", s.runDir, err)
	}
	if v, ok := h.Speaks(wire.Version, wire.Min); !ok {
		return fault.New(fault.Unavailable, "the shim of container %s speaks protocol %d to %d, this daemon %d to %d; the best common one is %d (restart the container with this daemon's version)", h.ID, h.Min, h.Version, wire.Min, wire.Version, v)
	}
	if s.id == "" {
		s.id, s.pid, s.startedAt = h.ID, int(h.Pid), h.StartedAt
	}
	if s.shimPid == 0 {
		s.shimPid = int(h.ShimPid)
	}
	return nil
}

// drop closes the connection for good.
func (s *Shim) drop() {
	s.mu.Lock()
	s.dropped = true
	conn := s.conn
	s.mu.Unlock()
	conn.Close()
}

// Close lets go of the shim and leaves the container running.
func (s *Shim) Close() error {
	s.drop()
	return nil
}

// reap collects the shim's process if it is our child.
func (s *Shim) reap() {
	if s.cmd != nil {
		s.reaped.Do(func() { s.cmd.Wait() })
	}
}
