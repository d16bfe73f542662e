package server

import (
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/shim/launcher"
	"github.com/sampan-containers/sampan/shim/wire"
)

// handle serves one request and returns the descriptors that it did not take.
func (c *conn) handle(h wire.Header, payload []byte, files []int) (left []int) {
	if !c.greeted {
		c.hello(h, payload)
		return files
	}
	var err error
	switch h.Type {
	case wire.TypeSignal:
		err = c.signal(h.Request, payload)
	case wire.TypeResize:
		err = c.resize(h.Request, payload)
	case wire.TypeAttach:
		return c.attach(h.Request, payload, files)
	case wire.TypeCloseStdin:
		err = c.closeStdin(h.Request, payload)
	case wire.TypeExec:
		return c.exec(h.Request, payload, files)
	case wire.TypeExecState, wire.TypeExecWait:
		err = c.execStatus(h.Type, h.Request, payload)
	case wire.TypeKeep:
		return c.keep(h.Request, payload, files)
	case wire.TypePort, wire.TypeRetarget:
		return c.port(h.Request, payload, files)
	case wire.TypeControl:
		err = c.control(h.Request, payload)
	case wire.TypeNamespace:
		err = c.namespace(h.Request, payload)
	default:
		c.fail(h.Request, wire.CodeInvalid, "the container's supervisor, of protocol version "+strconv.Itoa(wire.Version)+", does not know requests of type "+strconv.Itoa(int(h.Type)))
	}
	if err != nil {
		c.malformed(h.Request)
	}
	return files
}

func (c *conn) malformed(request uint32) {
	c.fail(request, wire.CodeInvalid, "the container's supervisor got a malformed request")
}

// hello answers a daemon's first frame; one that is too new or too old learns
// our versions and is let go.
func (c *conn) hello(h wire.Header, payload []byte) {
	m, err := wire.DecodeHello(payload)
	if err != nil || h.Type != wire.TypeHello {
		c.close()
		return
	}
	s := c.s
	answer := &wire.Hello{Version: wire.Version, Min: wire.Min, ID: s.id, ShimPid: uint32(unix.Getpid()), StartedAt: s.startedAt}
	if s.init != nil {
		answer.Pid = uint32(s.init.pid)
	}
	c.event(wire.TypeHello, answer)
	if _, ok := m.Speaks(wire.Version, wire.Min); !ok {
		c.close()
		return
	}
	c.greeted = true
	for _, text := range s.warnings {
		c.event(wire.TypeWarning, &wire.Warning{Text: text})
	}
	s.warnings = nil
	if s.phase == phaseDelivered {
		c.event(wire.TypeExit, &s.exit)
	}
}

// target finds a live process, or answers why there is none.
func (c *conn) target(request uint32, exec string) *proc {
	p := c.s.init
	if exec != "" {
		p = c.s.execs[exec]
		if p == nil {
			c.fail(request, wire.CodeNoSuchExec, exec)
			return nil
		}
	}
	if !p.running {
		c.fail(request, wire.CodeNotRunning, "it has ended")
		return nil
	}
	return p
}

func (c *conn) signal(request uint32, payload []byte) error {
	m, err := wire.DecodeSignal(payload)
	if err != nil {
		return err
	}
	p := c.target(request, m.Exec)
	if p == nil {
		return nil
	}
	if remote, ok := c.s.container.(launcher.Remote); ok && m.Exec == "" {
		c.remote(request, func() error { return remote.Signal(unix.Signal(m.Signal)) })
		return nil
	}
	switch err := unix.PidfdSendSignal(int(p.pidfd.Fd()), unix.Signal(m.Signal), nil, 0); err {
	case nil:
		c.ok(request)
	case unix.ESRCH:
		c.fail(request, wire.CodeNotRunning, "it has ended")
	default:
		c.fail(request, wire.CodeFailed, "send signal "+strconv.Itoa(int(m.Signal))+": "+err.Error())
	}
	return nil
}

// remote does beside the loop what another runtime does for us.
func (c *conn) remote(request uint32, f func() error) {
	s := c.s
	s.starting++ // the runtime's process is not an orphan of the container
	go func() {
		err := f()
		s.post(func() {
			if s.starting--; err != nil {
				c.fail(request, wire.CodeFailed, err.Error())
				return
			}
			c.ok(request)
		})
	}()
	s.yield()
}

// control changes a container of another runtime; ours is changed by its group.
func (c *conn) control(request uint32, payload []byte) error {
	m, err := wire.DecodeControl(payload)
	if err != nil || c.target(request, "") == nil {
		return err
	}
	remote, ok := c.s.container.(launcher.Remote)
	if !ok {
		c.fail(request, wire.CodeInvalid, "the container has no runtime of its own to "+m.Verb+" it")
		return nil
	}
	c.remote(request, func() error { return remote.Control(m.Verb, m.Data) })
	return nil
}

func (c *conn) resize(request uint32, payload []byte) error {
	m, err := wire.DecodeResize(payload)
	if err != nil {
		return err
	}
	p := c.target(request, m.Exec)
	if p == nil {
		return nil
	}
	if p.console == nil {
		c.fail(request, wire.CodeInvalid, "cannot resize: the process has no terminal (start it with -t)")
		return nil
	}
	if err := unix.IoctlSetWinsize(int(p.console.Fd()), unix.TIOCSWINSZ, winsize(m.Height, m.Width)); err != nil {
		c.fail(request, wire.CodeFailed, "resize the terminal: "+err.Error())
		return nil
	}
	c.ok(request)
	return nil
}

func (c *conn) attach(request uint32, payload []byte, files []int) (left []int) {
	a, err := wire.DecodeAttach(payload)
	if err != nil || len(files) != 1 {
		c.malformed(request)
		return files
	}
	if c.s.clientCount() >= maxClients {
		c.fail(request, wire.CodeExhausted, "the container has "+strconv.Itoa(maxClients)+" attached clients already")
		return files
	}
	p := c.target(request, "")
	if p == nil {
		return files
	}
	// The answer first: after it the daemon forgets the connection, and output
	// that comes earlier than its own header cannot happen, since it wrote that
	// before it handed the connection over.
	c.ok(request)
	p.attach(files[0], a)
	return nil
}

func (s *shim) clientCount() int {
	n := 0
	s.eachClient(func(*client) { n++ })
	return n
}

func (c *conn) closeStdin(request uint32, payload []byte) error {
	m, err := wire.DecodeTarget(payload)
	if err != nil {
		return err
	}
	if p := c.target(request, m.Exec); p != nil {
		p.in.end()
		c.ok(request)
	}
	return nil
}

func (c *conn) namespace(request uint32, payload []byte) error {
	m, err := wire.DecodeNamespace(payload)
	if err != nil {
		return err
	}
	if c.target(request, "") == nil {
		return nil
	}
	if m.Kind == wire.KindRoot {
		c.root(request)
		return nil
	}
	if name, ok := strings.CutPrefix(m.Kind, wire.KindKept); ok {
		fd, err := c.s.kept.Copy(name)
		if err != nil {
			c.fail(request, wire.CodeNotFound, err.Error())
			return nil
		}
		c.answer(wire.TypeNamespaceFile, request, nil, fd)
		return nil
	}
	f, err := c.s.container.Namespace(specs.LinuxNamespaceType(m.Kind))
	if err != nil {
		c.fail(request, wire.CodeFailed, err.Error())
		return nil
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		c.fail(request, wire.CodeFailed, "open the "+m.Kind+" namespace: "+err.Error())
		return nil
	}
	c.answer(wire.TypeNamespaceFile, request, nil, fd)
	return nil
}

// keep takes over a descriptor, or with none closes the one of that name.
func (c *conn) keep(request uint32, payload []byte, files []int) (left []int) {
	m, err := wire.DecodeTarget(payload)
	if err != nil || len(files) > 1 {
		c.malformed(request)
		return files
	}
	if c.target(request, "") == nil {
		return files
	}
	if len(files) == 0 {
		c.s.kept.Drop(m.Exec)
	} else if err := c.s.kept.Put(m.Exec, files[0]); err != nil {
		c.fail(request, wire.CodeExhausted, err.Error())
		return nil
	}
	c.ok(request)
	return nil
}

// port publishes one more port, with its socket; without, it ends or leads one.
func (c *conn) port(request uint32, payload []byte, files []int) []int {
	p, err := wire.DecodePort(payload)
	if err != nil || len(files) > 1 || c.target(request, "") == nil {
		c.malformed(request)
		return files
	}
	if len(files) == 0 {
		c.s.release(p)
	} else if err := c.s.hold(files[0], p); err != nil {
		c.fail(request, wire.CodeInvalid, err.Error())
		return nil
	} else if p.Splice {
		sp := c.s.splices[len(c.s.splices)-1]
		_ = c.s.add(sp.fd, unix.EPOLLIN, sp) // fails without memory alone
	}
	c.ok(request)
	return nil
}

// root answers with the container's root directory, by which the daemon reads and
// writes its files.
func (c *conn) root(request uint32) {
	r := c.s.container.RootDir()
	if r == nil {
		c.fail(request, wire.CodeInvalid, "the container's runtime does not give its root directory away")
		return
	}
	fd, err := unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		c.fail(request, wire.CodeFailed, "open the root directory: "+err.Error())
		return
	}
	c.answer(wire.TypeNamespaceFile, request, nil, fd)
}
