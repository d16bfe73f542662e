package server

import (
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/shim/exitrecord"
	"github.com/sampan-containers/sampan/shim/wire"
)

// initEnded begins the end: the first process has been reaped.
func (s *shim) initEnded() {
	p := s.init
	// With a pid namespace of its own nobody is left to write. Without one, what
	// others write until they are killed is read below.
	p.drain()
	p.release()

	r := wire.ExitRecord{Code: p.code(), Signal: p.signal(), At: p.at, Error: s.problem}
	if oom, err := s.container.OOMKilled(); err == nil {
		r.OOM = oom
	}
	s.exit = r
	if s.exitPath != "" {
		if err := exitrecord.Write(s.exitPath, &r, s.exitSync); err != nil {
			s.warn("the exit record cannot be written: " + err.Error())
		}
	}
	s.phase = phaseCleaning
	if !s.exitSync && !s.orphans {
		// Nobody starts it again, nobody is left in it, and who waits for its end
		// need not wait for the control groups.
		s.deliver()
	}
	// Beside the loop: a process in uninterruptible sleep may hold it up, and
	// clients still wait for their output.
	container := s.container
	go func() {
		err := container.Destroy()
		s.post(func() { s.destroyed(err) })
	}()
	s.yield()
}

// destroyed is called when cgroup and namespaces are gone.
func (s *shim) destroyed(err error) {
	if err != nil && s.told {
		s.warn("the container has ended, but not all of it is gone: " + err.Error())
	} else if err != nil {
		s.exit.Error = err.Error()
		if s.exitPath != "" {
			exitrecord.Write(s.exitPath, &s.exit, s.exitSync)
		}
	}
	if !s.told {
		s.deliver()
	}
	s.phase = phaseDelivered
	if s.root >= 0 {
		unix.Close(s.root)
		s.root = -1
	}
	s.mem.stop()
}

// deliver ends all streams and tells the daemons of the end.
func (s *shim) deliver() {
	s.told = true
	s.init.drain()
	s.init.closeStreams()
	s.endExecs()
	if s.log != nil {
		if err := s.log.Close(); err != nil {
			s.warn(err.Error())
		}
	}
	s.closePorts()
	s.unlisten()
	for _, c := range s.conns {
		if c.greeted {
			c.event(wire.TypeExit, &s.exit)
			c.since = s.now
		}
	}
}

// endExecs settles the execs that the end of the container took along.
func (s *shim) endExecs() {
	for _, p := range s.execs {
		if !p.running {
			continue
		}
		if p.ready(0); p.running {
			// Killed, but not a zombie yet: the outcome is known.
			p.ended(unix.WaitStatus(unix.SIGKILL))
		}
	}
}
