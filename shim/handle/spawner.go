package handle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	launch "github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/wire"
)

// abandonGrace is how long a shim whose start was given up may take to undo it
// before it is killed.
const abandonGrace = 5 * time.Second

// Spawner starts shims from one sealed copy of the runtime's binary.
type Spawner struct {
	binary   *os.File
	template *os.File // a mount namespace for all launches; nil = each copies the host's
	spares   spares
}

// Start describes one run. The namespaces and port sockets stay the caller's;
// the connections of Attach are closed by Spawner.Start in every case.
type Start struct {
	Config      wire.Config // Ports[i].Socket, NetNS, Namespaces and Attach are filled in from the fields below
	NetNS       *os.File
	Namespaces  map[string]*os.File // by the OCI spec's type: "ipc", "pid", "user", …
	PortSockets []*os.File          // one per Config.Ports; nil entries have no socket
	Kept        []Kept
	Attach      []Attach
}

// Kept is a descriptor that the shim holds, by its name, for whatever daemon asks.
type Kept struct {
	Name string
	File *os.File
}

// Attach is a client's connection that the shim takes over: it writes the
// process's output to it and reads its input, raw or with Docker's 8 byte
// headers. Conn is closed by the call that takes the Attach.
type Attach struct {
	Conn                  *os.File
	Initial               []byte // input read ahead by the HTTP server
	Stdin, Stdout, Stderr bool
	Mux                   bool
	DetachKeys            []byte // nil = no detaching
	End                   bool   // tell of the exit code in a last frame
}

func (a *Attach) message() *wire.Attach {
	return &wire.Attach{Stdin: a.Stdin, Stdout: a.Stdout, Stderr: a.Stderr, Mux: a.Mux, Initial: a.Initial, DetachKeys: a.DetachKeys, End: a.End && a.Mux}
}

func (a *Attach) close() {
	if a != nil && a.Conn != nil {
		a.Conn.Close()
	}
}

// NewSpawner copies the binary into sealed memory. Sealing keeps container code
// that reaches /proc/PID/exe of a runtime process from overwriting the binary on
// disk (CVE-2019-5736); one copy for all lets every shim share its text pages.
func NewSpawner(runtimeBinary string) (*Spawner, error) {
	src, err := os.Open(runtimeBinary)
	if err != nil {
		return nil, fmt.Errorf("the runtime binary: %w (build and install sampan-runtime beside sampand)", err)
	}
	defer src.Close()
	fd, err := unix.MemfdCreate("sampan-runtime", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC: Linux 6.3
		fd, err = unix.MemfdCreate("sampan-runtime", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create for the runtime binary: %w", err)
	}
	mem := os.NewFile(uintptr(fd), "sampan-runtime")
	if err := seal(mem, src); err != nil {
		mem.Close()
		return nil, fmt.Errorf("seal a copy of %s: %w", runtimeBinary, err)
	}
	keepDescriptors()
	s := &Spawner{binary: mem}
	// Without it a launch copies the host's mount table: slower, equally right.
	if t, err := launch.NewTemplate(); err == nil {
		s.template = t
	}
	return s, nil
}

// keepDescriptors marks what this process inherited as close-on-exec: Go marks
// what it opens itself only, and a shim that lives for months must not hold the
// pipe of whoever started the daemon.
func keepDescriptors() {
	const first = 3
	if unix.CloseRange(first, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	list, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return
	}
	for _, e := range list {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
}

func seal(mem, src *os.File) error {
	if _, err := io.Copy(mem, src); err != nil {
		return err
	}
	if err := mem.Chmod(0o500); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(mem.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return err
	}
	inLargePages(mem)
	return nil
}

// Close releases the sealed copy; running shims keep theirs.
func (s *Spawner) Close() error {
	s.spares.close()
	if s.template != nil {
		s.template.Close()
	}
	return s.binary.Close()
}

// Start starts a shim, or takes the one that Prepare has started, and its
// container. It returns after the container's execve; an error of a missing or not executable command matches
// runtime.ErrNotFound or runtime.ErrNotExecutable. A failed start leaves nothing
// behind. When ctx ends first, the start is undone in the background.
func (s *Spawner) Start(ctx context.Context, st *Start) (*Shim, error) {
	defer func() {
		for i := range st.Attach {
			st.Attach[i].close()
		}
	}()
	cfg := st.Config
	files, err := st.gather(&cfg, s.template)
	if err != nil {
		return nil, err
	}
	sh, err := s.obtain(cfg.ID, cfg.RunDir)
	if err != nil {
		return nil, fmt.Errorf("start the shim of container %s: %w", cfg.ID, err)
	}
	go sh.read(sh.conn)
	if err := sh.create(ctx, &cfg, files); err != nil {
		sh.abandon()
		return nil, err
	}
	return sh, nil
}

// gather lists the descriptors in the order wire.Config defines.
func (st *Start) gather(cfg *wire.Config, template *os.File) ([]*os.File, error) {
	var files []*os.File
	if template != nil {
		cfg.Template = true
		files = append(files, template)
	}
	if st.NetNS != nil {
		cfg.NetNS = true
		files = append(files, st.NetNS)
	}
	cfg.Namespaces = nil
	for kind, f := range st.Namespaces {
		cfg.Namespaces = append(cfg.Namespaces, kind)
		files = append(files, f)
	}
	if len(st.PortSockets) > len(cfg.Ports) {
		return nil, fault.New(fault.Invalid, "start container %s: %d port sockets for %d ports", cfg.ID, len(st.PortSockets), len(cfg.Ports))
	}
	cfg.Ports = append([]wire.Port(nil), cfg.Ports...)
	for i, f := range st.PortSockets {
		cfg.Ports[i].Socket = f != nil
		if f != nil {
			files = append(files, f)
		}
	}
	cfg.Kept = nil
	for _, k := range st.Kept {
		cfg.Kept = append(cfg.Kept, k.Name)
		files = append(files, k.File)
	}
	cfg.Attach = nil
	for i := range st.Attach {
		cfg.Attach = append(cfg.Attach, *st.Attach[i].message())
		files = append(files, st.Attach[i].Conn)
	}
	if len(files) > wire.MaxFiles {
		return nil, fault.New(fault.Exhausted, "start container %s: %d descriptors for its ports and clients, the limit is %d", cfg.ID, len(files), wire.MaxFiles)
	}
	return files, nil
}

// spawn starts the shim's process with one end of a socketpair as descriptor 3.
func (s *Spawner) spawn(id string) (*net.UnixConn, *exec.Cmd, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "shim"), os.NewFile(uintptr(pair[1]), "shim's end")
	defer theirs.Close()
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, err
	}
	cmd := &exec.Cmd{
		// Resolved in the child, before close-on-exec takes the descriptor away.
		Path:       fmt.Sprintf("/proc/self/fd/%d", s.fd()),
		Args:       []string{"sampan-runtime", "shim", id},
		Env:        shimEnv(),
		Dir:        "/",
		ExtraFiles: []*os.File{theirs},
		// A session of its own: no signal of the daemon's terminal reaches it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, nil, err
	}
	runtime.KeepAlive(s)
	return c.(*net.UnixConn), cmd, nil
}

func (s *Spawner) fd() int {
	fd := -1
	if raw, err := s.binary.SyscallConn(); err == nil {
		raw.Control(func(p uintptr) { fd = int(p) })
	}
	return fd
}

// shimEnv tunes the Go runtime of the shim before its first instruction: one
// processor means one allocation cache; the shim itself decides when to collect
// (server/memory.go), with a limit as the net below; it need not ask its cgroup
// for the number of processors, which reads files and keeps them open.
func shimEnv() []string {
	return []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=8MiB", "GODEBUG=containermaxprocs=0,updatemaxprocs=0", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
}

// create introduces the daemon and hands over the container.
func (s *Shim) create(ctx context.Context, cfg *wire.Config, files []*os.File) error {
	hello := &wire.Hello{Version: wire.Version, Min: wire.Min}
	head := wire.Append(nil, wire.TypeHello, 0, 0, hello)
	for len(files) > wire.MaxFilesPerFrame {
		n := len(files) - wire.MaxFilesPerFrame
		if n > wire.MaxFilesPerFrame {
			n = wire.MaxFilesPerFrame
		}
		head = wire.Append(head, wire.TypeFiles, 0, n, nil)
		if err := s.send(ctx, head, files[:n]); err != nil {
			return err
		}
		head, files = nil, files[n:]
	}
	if len(head) > 0 {
		if err := s.send(ctx, head, nil); err != nil {
			return err
		}
	}
	reply, err := s.call(ctx, "start", wire.TypeCreate, cfg, files, wire.TypeStarted)
	if err != nil {
		return err
	}
	started, err := wire.DecodeStarted(reply.payload)
	if err != nil {
		return fmt.Errorf("start container %s: the shim's answer: %w", s.id, err)
	}
	s.mu.Lock()
	s.pid, s.startedAt = int(started.Pid), started.At
	s.mu.Unlock()
	return nil
}

// abandon undoes a start that failed or that nobody waits for any more: a
// container that did start meanwhile is killed, and a shim that does not answer
// with it.
func (s *Shim) abandon() {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), abandonGrace)
		defer cancel()
		s.Signal(ctx, unix.SIGKILL)
		select {
		case <-s.done:
		case <-ctx.Done():
			s.cmd.Process.Kill()
		}
	}()
}

// Connect finds the shim of a container that this daemon did not start. It fails
// with fault.NotFound when no shim listens below runDir; the exit record then
// tells how the run ended.
func Connect(ctx context.Context, runDir string) (*Shim, error) {
	conn, err := dial(ctx, runDir)
	if err != nil {
		return nil, err
	}
	s := newShim("", runDir, conn, nil)
	if err := s.greet(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	go s.read(conn)
	return s, nil
}

// dial connects below a directory descriptor: a socket's path is limited to 107
// bytes, and a run directory may be longer.
func dial(ctx context.Context, runDir string) (*net.UnixConn, error) {
	dir, err := os.OpenFile(runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "no shim for %s: the directory is gone", runDir)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the shim: %w", err)
	}
	defer dir.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join("/proc/self/fd", fmt.Sprint(dir.Fd()), SocketName))
	if ctx.Err() != nil {
		return nil, fault.New(fault.Deadline, "the shim in %s does not answer: %w", runDir, context.Cause(ctx))
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fault.New(fault.NotFound, "no shim listens in %s", runDir)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the shim in %s: %w", runDir, err)
	}
	return c.(*net.UnixConn), nil
}

// SocketName is the shim's socket in its run directory.
const SocketName = "shim.sock"

// greet exchanges Hello frames before the reader runs.
func (s *Shim) greet(ctx context.Context, conn *net.UnixConn) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// What comes back tells more than a failed write.
	conn.Write(wire.Append(nil, wire.TypeHello, 0, 0, &wire.Hello{Version: wire.Version, Min: wire.Min}))
	f, err := readFrame(conn)
	if ctx.Err() != nil {
		return fault.New(fault.Deadline, "the shim in %s does not answer: %w", s.runDir, context.Cause(ctx))
	}
	if err != nil {
		// It ended between accept and answer: what counts is its exit record.
		return fault.New(fault.NotFound, "the shim in %s has just ended: %w", s.runDir, err)
	}
	f.close()
	return s.welcome(f)
}
