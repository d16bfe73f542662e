package server

import (
	"errors"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/wire"
)

const (
	// maxExecs bounds the processes that exec has running at one time.
	maxExecs = 1024
	// keptExecs is how many ended ones are remembered for the daemon.
	keptExecs = 64
	// execGarbage is roughly what one exec leaves on the heap.
	execGarbage = 64 << 10
)

// exec starts a further process beside the loop: a start can take long, in a
// frozen container for ever, and the first process's output must flow meanwhile.
func (c *conn) exec(request uint32, payload []byte, files []int) (left []int) {
	m, err := wire.DecodeExec(payload)
	if err != nil || m.ID == "" || m.Process == nil || (m.Attach != nil) != (len(files) == 1) {
		c.malformed(request)
		return files
	}
	if c.target(request, "") == nil {
		return files
	}
	s := c.s
	switch {
	case s.execs[m.ID] != nil:
		c.fail(request, wire.CodeInvalid, "exec "+m.ID+" has been started already")
		return files
	case len(s.execs)-len(s.finished) >= maxExecs:
		c.fail(request, wire.CodeExhausted, "the container has "+strconv.Itoa(maxExecs)+" execs running already")
		return files
	case m.Attach != nil && s.clientCount() >= maxClients:
		c.fail(request, wire.CodeExhausted, "the container has "+strconv.Itoa(maxClients)+" attached clients already")
		return files
	}
	p := &proc{s: s, id: m.ID, tty: m.Process.Terminal, stdinOnce: true}
	spec := &runtime.ExecSpec{Process: m.Process}
	st := &streams{}
	if p.tty {
		if m.Height > 0 && m.Width > 0 {
			m.Process.ConsoleSize = &specs.Box{Height: uint(m.Height), Width: uint(m.Width)}
		}
	} else if st, err = p.pipes(m.OpenStdin); err != nil {
		c.fail(request, wire.CodeFailed, "exec: "+err.Error())
		return files
	}
	spec.Stdio = st.child
	s.execs[m.ID] = p
	s.starting++
	container := s.container
	go func() {
		started, err := container.Exec(spec)
		s.post(func() {
			st.close()
			s.starting--
			s.execStarted(c, request, m, p, started, err, files)
		})
	}()
	s.yield()
	return nil
}

// execStarted continues an exec in the loop.
func (s *shim) execStarted(c *conn, request uint32, m *wire.Exec, p *proc, started *runtime.Process, err error, files []int) {
	if err == nil {
		if m.Process.OOMScoreAdj == nil {
			s.oom.Restore(started.Pid)
		}
		if p.tty {
			err = p.terminal(started.Console, m.OpenStdin, m.Height, m.Width)
		}
		if err == nil {
			err = p.run(started.Pid, started.PidFD)
		}
		if err != nil {
			unix.PidfdSendSignal(int(started.PidFD.Fd()), unix.SIGKILL, nil, 0)
		}
	}
	if err != nil {
		delete(s.execs, p.id)
		closeAll(files)
		p.closeStreams()
		c.fail(request, codeOf(err), err.Error())
		return
	}
	// The answer comes before the first output: see attach.
	c.answer(wire.TypeStarted, request, &wire.Started{Pid: uint32(started.Pid), At: time.Now()}, -1)
	if m.Attach != nil {
		p.attach(files[0], m.Attach)
		if !m.Attach.Stdin {
			p.in.end()
		}
	}
	if s.phase > phaseRunning {
		p.ready(0) // the container ended meanwhile, and took it along
	}
}

// codeOf classes a launch error.
func codeOf(err error) wire.Code {
	switch {
	case errors.Is(err, runtime.ErrNotFound):
		return wire.CodeNotFound
	case errors.Is(err, runtime.ErrNotExecutable):
		return wire.CodeNotExecutable
	case errors.Is(err, fault.Invalid):
		return wire.CodeInvalid // what the request asked for, not what the machine lacks
	}
	return wire.CodeFailed
}

// execEnded keeps the result of an exec. State first, then its connections.
func (s *shim) execEnded(p *proc) {
	p.drain()
	status := p.execStatus()
	for _, w := range p.waiters {
		w.c.answer(wire.TypeExecStatus, w.request, status, -1)
	}
	p.waiters = nil
	for _, c := range s.conns {
		if c.greeted {
			c.event(wire.TypeExecExit, status)
		}
	}
	p.release()
	p.orphan()
	s.mem.drop(s, execGarbage)
	s.mem.unmapped = false
	s.finished = append(s.finished, p.id)
	s.forgetExecs()
}

// forgetExecs drops the oldest ended execs beyond the limit, those still being
// delivered excepted.
func (s *shim) forgetExecs() {
	for i := 0; len(s.finished) > keptExecs && i < len(s.finished); {
		p := s.execs[s.finished[i]]
		if len(p.clients) > 0 {
			i++
			continue
		}
		delete(s.execs, p.id)
		s.finished = append(s.finished[:i:i], s.finished[i+1:]...)
	}
}

// maxOrphans bounds the output streams kept for processes that execs left behind.
const maxOrphans = 512

// orphan lets the streams of an ended exec be: a background process that it left
// behind (service x start) may go on writing to them, and must get no SIGPIPE
// for it.
func (p *proc) orphan() {
	if p.tty || p.s.orphanOuts >= maxOrphans {
		p.closeStreams()
		return
	}
	for _, o := range p.outs {
		if !o.done {
			o.discard = true
			p.s.orphanOuts++
			o.watch(true)
		}
	}
}

func (p *proc) execStatus() *wire.ExecStatus {
	st := &wire.ExecStatus{Exec: p.id, Running: p.running, Pid: uint32(p.pid)}
	if p.exited {
		st.ExitCode = uint32(p.code())
	}
	return st
}

func (c *conn) execStatus(typ wire.Type, request uint32, payload []byte) error {
	m, err := wire.DecodeTarget(payload)
	if err != nil {
		return err
	}
	p := c.s.execs[m.Exec]
	if p == nil {
		c.fail(request, wire.CodeNoSuchExec, m.Exec)
		return nil
	}
	const maxWaiters = 64
	switch {
	case typ == wire.TypeExecState || p.exited:
		c.answer(wire.TypeExecStatus, request, p.execStatus(), -1)
	case len(p.waiters) >= maxWaiters:
		c.fail(request, wire.CodeExhausted, "too many requests wait for exec "+m.Exec)
	default:
		p.waiters = append(p.waiters, waiter{c, request})
	}
	return nil
}
