package server

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/shim/children"
	"github.com/sampan-containers/sampan/shim/launcher"
	"github.com/sampan-containers/sampan/shim/lent"
	"github.com/sampan-containers/sampan/shim/oomscore"
	"github.com/sampan-containers/sampan/shim/wire"
)

// shim is the state of one supervisor. It belongs to the loop's goroutine.
type shim struct {
	loop
	launcher launcher.Launcher
	machine  *cgroup.Machine // until the launch

	id, runDir string
	exitPath   string
	exitSync   bool
	spillDir   string
	spills     int
	limits     limits

	listener int // RunDir/shim.sock; -1 = none
	conns    []*conn

	init      *proc
	startedAt time.Time
	container launcher.Container
	// root keeps the container's root file system mounted until the daemons are
	// told of the end: taking an overlay away takes as long as all the rest, and
	// nobody sees that mount. -1 = none.
	root int
	log  *logfile.Writer
	// orphans tells that processes of the container may become our children: it
	// has no pid namespace of its own.
	orphans bool

	execs    map[string]*proc
	finished []string // ids of ended execs, oldest first
	starting int      // execs under way beside the loop
	// orphanOuts counts output streams of ended execs with a writer left.
	orphanOuts int

	ports   []int // sockets held for the container's life
	splices []*splicer
	kept    lent.Store // sockets of the container's network that the daemon works with

	buffers     []byte                             // one mapping for both
	buf, logBuf []byte                             // for reads; for log entries
	oob         [24 + 4*wire.MaxFilesPerFrame]byte // CMSG_SPACE of the descriptors of a frame
	mem         memory
	oom         oomscore.Score

	warnings []string // not delivered yet, because no daemon was there
	problem  string   // for the exit record
	phase    phase
	told     bool // the daemons know exit
	exit     wire.ExitRecord
}

// phase is what the shim is doing; it only moves forward.
type phase int

const (
	phaseRunning   phase = iota // the first process lives
	phaseCleaning               // its exit is recorded, the container is being taken away
	phaseDelivered              // the daemons are told; slow clients are still served
)

func newShim(l launcher.Launcher, lim limits) *shim {
	return &shim{launcher: l, listener: -1, root: -1, limits: lim, execs: map[string]*proc{}}
}

// reapEvery is the pace at which orphans are collected while nothing happens.
const reapEvery = 10 * time.Second

// serve runs until the container is gone and everything is delivered.
func (s *shim) serve() {
	for s.phase < phaseDelivered || s.busy() {
		busy := s.round(s.timeout())
		if s.orphans {
			s.reapOrphans()
		}
		s.checkDeadlines()
		if !busy {
			s.mem.tidy(s)
		}
	}
}

// busy tells whether clients or daemons still have something to get.
func (s *shim) busy() bool {
	for _, c := range s.conns {
		if len(c.out) > 0 {
			return true
		}
	}
	busy := false
	s.eachClient(func(*client) { busy = true })
	return busy
}

func (s *shim) eachClient(f func(*client)) {
	if s.init != nil {
		for _, c := range s.init.clients {
			f(c)
		}
	}
	for _, p := range s.execs {
		for _, c := range p.clients {
			f(c)
		}
	}
}

// timeout is how long the loop may sleep; < 0 = until something happens.
func (s *shim) timeout() time.Duration {
	var next time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	s.eachClient(func(c *client) { earlier(c.deadline()) })
	for _, c := range s.conns {
		earlier(c.deadline())
	}
	earlier(s.mem.deadline())
	if s.orphans {
		earlier(s.now.Add(reapEvery))
	}
	if next.IsZero() {
		return -1
	}
	return max(time.Until(next), 0)
}

func (s *shim) checkDeadlines() {
	var late []*client
	s.eachClient(func(c *client) {
		if t := c.deadline(); !t.IsZero() && !t.After(s.now) {
			late = append(late, c)
		}
	})
	for _, c := range late {
		c.overdue()
	}
	for _, c := range s.conns {
		if t := c.deadline(); !t.IsZero() && !t.After(s.now) {
			c.close()
		}
	}
}

// reapOrphans collects children that are not ours to report: processes of the
// container whose parent died, when it shares the host's pid namespace.
func (s *shim) reapOrphans() {
	for {
		pid, ok := children.Ended()
		if !ok {
			return
		}
		if p := s.procOf(pid); p != nil {
			p.ready(0)
			if !p.exited {
				return
			}
			continue
		}
		if s.starting > 0 {
			return // it may belong to an exec that is just starting
		}
		unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

func (s *shim) procOf(pid int) *proc {
	if s.init != nil && s.init.pid == pid && !s.init.exited {
		return s.init
	}
	for _, p := range s.execs {
		if p.running && p.pid == pid {
			return p
		}
	}
	return nil
}

// warn passes a degraded step to every daemon, or keeps it for the next one.
func (s *shim) warn(text string) {
	const keep = 16
	sent := false
	for _, c := range s.conns {
		if c.greeted {
			c.event(wire.TypeWarning, &wire.Warning{Text: text})
			sent = true
		}
	}
	if !sent && len(s.warnings) < keep {
		s.warnings = append(s.warnings, text)
	}
}

// socketPath is the socket's name below the open run directory, since a UNIX
// socket's path is limited to 107 bytes.
const socketName = "shim.sock"

// listen makes the socket for daemons that come later.
func (s *shim) listen() error {
	dir, err := unix.Open(s.runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open the run directory", Path: s.runDir, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	unix.Unlinkat(dir, socketName, 0) // of an earlier run
	old := unix.Umask(0o177)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: procFD(dir) + "/" + socketName})
	unix.Umask(old)
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		unix.Close(fd)
		return &os.PathError{Op: "listen on", Path: s.runDir + "/" + socketName, Err: err}
	}
	s.listener = fd
	return nil
}

func (s *shim) unlisten() {
	if s.listener >= 0 {
		unix.Unlink(s.runDir + "/" + socketName)
		s.close(s.listener)
		s.listener = -1
	}
}
