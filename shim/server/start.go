package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/ocijson"
	"github.com/sampan-containers/sampan/runtime/seccomp"
	"github.com/sampan-containers/sampan/shim/exitrecord"
	"github.com/sampan-containers/sampan/shim/external"
	"github.com/sampan-containers/sampan/shim/launcher"
	"github.com/sampan-containers/sampan/shim/wire"
)

// maxSpec bounds config.json.
const maxSpec = 16 << 20

// start starts the container and tells the daemon. When it fails, everything
// made so far is undone first.
func (s *shim) start(c *create) bool {
	clients, err := s.launch(c)
	if err != nil {
		s.undo()
		refuse(c.request, codeOf(err), err.Error())
		return false
	}
	s.phase = phaseRunning
	hello := &wire.Hello{Version: wire.Version, Min: wire.Min, ID: s.id, Pid: uint32(s.init.pid), StartedAt: s.startedAt, ShimPid: uint32(unix.Getpid())}
	answer := wire.Append(nil, wire.TypeHello, 0, 0, hello)
	answer = wire.Append(answer, wire.TypeStarted, c.request, 0, &wire.Started{Pid: hello.Pid, At: s.startedAt})
	writeRetry(controlFD, answer) // a daemon that has gone connects later, or its successor does

	s.connect(controlFD).greeted = true
	for i, fd := range clients {
		s.init.attach(fd, &c.cfg.Attach[i])
	}
	for _, text := range s.warnings {
		s.warn(text)
	}
	s.mem.started(s)
	return true
}

// launch does the steps of a start and returns the clients' descriptors.
func (s *shim) launch(c *create) (clients []int, err error) {
	cfg := c.cfg
	s.id, s.runDir = cfg.ID, cfg.RunDir
	s.exitPath, s.exitSync = cfg.ExitPath, cfg.ExitSync
	if s.exitPath != "" {
		s.spillDir = filepath.Dir(s.exitPath)
	}
	spec, err := readSpec(filepath.Join(cfg.RunDir, "config.json"))
	if err != nil {
		return nil, err
	}
	ls, clients, err := s.launchSpec(cfg, spec, c.files)
	defer closeNamespaces(ls)
	if err != nil {
		return nil, err
	}
	if s.log, err = openLog(&cfg.Log, s.logBuf, s.warn); err != nil {
		return nil, err
	}
	if hungUp(controlFD) {
		return nil, errForsaken // before anything is touched that may be a later run's by now
	}
	if s.exitPath != "" {
		if err := exitrecord.Prepare(s.exitPath); err != nil {
			return nil, err
		}
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	// The successor of a daemon that died before this may have looked for the socket
	// when it was not there yet, and then takes the container for one that does not
	// run: it must not. A daemon that is there now, or its successor, finds it.
	if hungUp(controlFD) {
		return nil, errForsaken
	}
	p := &proc{s: s, tty: cfg.Terminal, stdinOnce: cfg.StdinOnce}
	s.init = p
	st := &streams{}
	if !cfg.Terminal {
		if st, err = p.pipes(cfg.OpenStdin); err != nil {
			return nil, err
		}
	}
	ls.Stdio, s.machine = st.child, nil
	started, err := s.launcherFor(cfg).Launch(ls)
	st.close()
	if err != nil {
		return nil, err
	}
	s.container, s.startedAt = started.Container, time.Now()
	if root := started.RootDir(); root != nil {
		s.root, _ = unix.FcntlInt(root.Fd(), unix.F_DUPFD_CLOEXEC, 0) // -1 where it fails
	}
	return clients, s.adopt(p, started, cfg)
}

var errForsaken = errors.New("the daemon ended before the container was started")

// hungUp tells whether the other end of a socket is closed.
func hungUp(fd int) bool {
	p := [1]unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p[:], 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

func (s *shim) launcherFor(cfg *wire.Config) launcher.Launcher {
	if cfg.Checkpoint != "" {
		return external.Launcher{Path: "/proc/self/exe", Dir: cfg.RunDir, Checkpoint: cfg.Checkpoint}
	}
	if cfg.Runtime == "" {
		return s.launcher
	}
	return external.Launcher{Path: cfg.Runtime, Args: cfg.RuntimeArgs, Dir: cfg.RunDir}
}

// adopt puts a container that runs under the loop.
func (s *shim) adopt(p *proc, started *launcher.Launched, cfg *wire.Config) error {
	if cfg.Terminal {
		if err := p.terminal(started.Console, cfg.OpenStdin, cfg.Height, cfg.Width); err != nil {
			return err
		}
	}
	if s.log != nil {
		p.record(s.log)
	}
	if err := p.run(started.Pid, started.PidFD); err != nil {
		return fmt.Errorf("watch the container: %w", err)
	}
	if err := s.add(s.listener, unix.EPOLLIN, acceptor{s}); err != nil {
		return fmt.Errorf("watch the shim's socket: %w", err)
	}
	for _, sp := range s.splices {
		if err := s.add(sp.fd, unix.EPOLLIN, sp); err != nil {
			return fmt.Errorf("watch a published port: %w", err)
		}
	}
	return nil
}

// undo takes away what a failed start has made.
func (s *shim) undo() {
	if s.container != nil {
		s.container.Destroy()
	}
	if s.init != nil {
		if s.init.pid > 0 {
			unix.Wait4(s.init.pid, nil, unix.WALL, nil)
		}
		s.init.closeStreams()
	}
	if s.log != nil {
		s.log.Close()
	}
	s.unlisten()
	s.closePorts()
	if s.exitPath != "" {
		exitrecord.Abandon(s.exitPath)
	}
}

// readSpec maps the file instead of reading it: the strings of the result lie in
// the page cache of the run directory's tmpfs, and cost the shim nothing. Only
// the daemon writes the file, before it starts us.
func readSpec(path string) (*specs.Spec, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("read the container's specification %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("read the container's specification %s: %w", path, err)
	}
	if st.Size <= 0 || st.Size > maxSpec {
		return nil, fmt.Errorf("the container's specification %s has %d bytes; it must have some, and the limit is %d", path, st.Size, maxSpec)
	}
	raw, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("read the container's specification %s: %w", path, err)
	}
	spec, err := ocijson.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("the container's specification %s: %w", path, err)
	}
	if spec.Process == nil || spec.Linux == nil {
		return nil, fmt.Errorf("the container's specification %s has no process or no linux section", path)
	}
	return spec, nil
}

// launchSpec turns configuration and descriptors into the runtime's order.
func (s *shim) launchSpec(cfg *wire.Config, spec *specs.Spec, files []int) (ls *runtime.LaunchSpec, clients []int, err error) {
	ls = &runtime.LaunchSpec{
		ID: cfg.ID, Spec: spec, Bundle: cfg.RunDir,
		Namespaces:    map[specs.LinuxNamespaceType]*os.File{},
		DieWithParent: true,
		Machine:       s.machine,
		Warn:          func(text string) { s.warnings = append(s.warnings, text) },
	}
	if len(cfg.Filter) > 0 {
		if ls.Filter, err = seccomp.DecodeFilter(cfg.Filter); err != nil {
			return ls, nil, err
		}
	}
	if o := cfg.Overlay; o != nil {
		ls.Overlay = &runtime.Overlay{Lower: o.Lower, Upper: o.Upper, Work: o.Work, ReadOnly: o.ReadOnly}
	}
	if cfg.Terminal && cfg.Height > 0 && cfg.Width > 0 {
		spec.Process.ConsoleSize = &specs.Box{Height: uint(cfg.Height), Width: uint(cfg.Width)}
	}
	spec.Process.Terminal = cfg.Terminal
	next := func() (int, bool) {
		if len(files) == 0 {
			return -1, false
		}
		fd := files[0]
		files = files[1:]
		return fd, true
	}
	missing := errors.New("the daemon sent fewer descriptors than it announced")
	if cfg.Template {
		fd, ok := next()
		if !ok {
			return ls, nil, missing
		}
		ls.Template = os.NewFile(uintptr(fd), "template")
	}
	kinds := cfg.Namespaces
	if cfg.NetNS {
		kinds = append([]string{string(specs.NetworkNamespace)}, kinds...)
	}
	for _, kind := range kinds {
		fd, ok := next()
		if !ok {
			return ls, nil, missing
		}
		ls.Namespaces[specs.LinuxNamespaceType(kind)] = os.NewFile(uintptr(fd), kind)
	}
	for i := range cfg.Ports {
		if !cfg.Ports[i].Socket {
			continue
		}
		fd, ok := next()
		if !ok {
			return ls, nil, missing
		}
		if err := s.hold(fd, &cfg.Ports[i]); err != nil {
			return ls, nil, err
		}
	}
	for _, name := range cfg.Kept {
		fd, ok := next()
		if !ok {
			return ls, nil, missing
		}
		if err := s.kept.Put(name, fd); err != nil {
			return ls, nil, err
		}
	}
	if len(files) != len(cfg.Attach) {
		return ls, nil, errors.New("the daemon sent more descriptors than it announced")
	}
	// Another runtime may leave processes of its own behind, which the end of the
	// container's PID namespace waits for.
	s.orphans = sharesPids(spec, ls) || cfg.Runtime != "" || cfg.Checkpoint != ""
	return ls, files, nil
}

// sharesPids tells whether the container has no pid namespace of its own.
func sharesPids(spec *specs.Spec, ls *runtime.LaunchSpec) bool {
	if ls.Namespaces[specs.PIDNamespace] != nil {
		return false
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.PIDNamespace {
			return false
		}
	}
	return true
}

// closeNamespaces releases what the launch was given; the container keeps what
// it joined.
func closeNamespaces(ls *runtime.LaunchSpec) {
	if ls == nil {
		return
	}
	for _, f := range ls.Namespaces {
		f.Close()
	}
	if ls.Template != nil {
		ls.Template.Close()
	}
}

func openLog(cfg *wire.LogConfig, buf []byte, warn func(string)) (*logfile.Writer, error) {
	switch cfg.Driver {
	case "none":
		return nil, nil
	case "", "json-file", "local":
		return logfile.Open(logfile.Options{Path: cfg.Path, MaxSize: cfg.MaxSize, MaxFiles: cfg.MaxFiles, Attrs: cfg.Attrs, Warn: warn, Buffer: buf,
			Local: cfg.Driver == "local", Compress: cfg.Compress})
	}
	return nil, fmt.Errorf("log driver %q is not one of the shim's (json-file, local, none)", cfg.Driver)
}
