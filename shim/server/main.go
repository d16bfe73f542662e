package server

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/privs"
	"github.com/sampan-containers/sampan/shim/launcher"
	"github.com/sampan-containers/sampan/shim/wire"
)

// controlFD is the socket to the daemon that started this shim.
const controlFD = 3

// Main is `sampan-runtime shim`. It returns the process's exit status.
func Main() int { return run(launcher.InProcess{}, defaultLimits()) }

func run(l launcher.Launcher, lim limits) int {
	prepareProcess()
	s := newShim(l, lim)
	if err := s.setUp(); err != nil {
		os.Stderr.WriteString("sampan-runtime shim: " + err.Error() + "\n")
		return 1
	}
	// The order comes later than this process, as a rule: what it does not change is
	// done before. An error comes again at the launch, and is told there.
	s.machine, _ = cgroup.Find()
	create, ok := s.receiveCreate()
	if !ok {
		return 1
	}
	if !s.start(create) {
		return 1
	}
	s.serve()
	return 0
}

// prepareProcess makes the process independent of the one that started it. The
// spawner has done most of it; a shim started by hand must not differ.
func prepareProcess() {
	name := []byte("sampan-shim\x00")
	unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	unix.Setsid() // fails for a session leader, which is fine
	unix.Chdir("/")
	unix.Umask(0o022)
	// Whoever ends process groups or services, a service manager above all, must not take
	// the container with the shim. Its processes do not inherit this.
	privs.IgnoreSignals(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
}

func (s *shim) setUp() error {
	if err := s.loop.init(); err != nil {
		return os.NewSyscallError("epoll", err)
	}
	// Outside of the heap, so that they go back to the kernel without a collection.
	const size = dataOffset + readSize
	buf, err := unix.Mmap(-1, 0, size+logfile.BufferSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	s.buffers, s.buf, s.logBuf = buf, buf[:size:size], buf[size:]
	return nil
}

// create is the order to start a container.
type create struct {
	conn    *conn
	request uint32
	cfg     *wire.Config
	files   []int
}

// receiveCreate reads the frames that come before the container runs. The
// daemon's end may close at any time: then there is nothing to do.
func (s *shim) receiveCreate() (*create, bool) {
	c := &conn{s: s, fd: controlFD}
	unix.CloseOnExec(controlFD)
	var files []int
	for {
		h, payload, got, err := s.readFrame(controlFD)
		files = append(files, got...)
		switch {
		case err != nil || len(files) > wire.MaxFiles:
			return nil, false
		case !c.greeted:
			m, err := wire.DecodeHello(payload)
			if err != nil || h.Type != wire.TypeHello {
				return nil, false
			}
			if _, ok := m.Speaks(wire.Version, wire.Min); !ok {
				return nil, false
			}
			c.greeted = true
		case h.Type == wire.TypeFiles:
		case h.Type == wire.TypeCreate:
			cfg, err := wire.DecodeConfig(payload)
			if err != nil {
				refuse(h.Request, wire.CodeInvalid, "the container's supervisor cannot read its configuration: "+err.Error())
				return nil, false
			}
			return &create{conn: c, request: h.Request, cfg: cfg, files: files}, true
		default:
			return nil, false
		}
	}
}

// readFrame reads one frame from a blocking socket.
func (s *shim) readFrame(fd int) (h wire.Header, payload []byte, files []int, err error) {
	var head [wire.HeaderSize]byte
	for got := 0; got < len(head); {
		n, more, err := s.recvFiles(fd, head[got:])
		files = append(files, more...)
		if err == nil && n == 0 {
			err = unix.ECONNRESET
		}
		if err != nil {
			return h, nil, files, err
		}
		got += n
	}
	if h, err = wire.ParseHeader(head[:], wire.MaxRequest); err != nil {
		return h, nil, files, err
	}
	payload = make([]byte, h.Length)
	for got := 0; got < len(payload); {
		n, err := readRetry(fd, payload[got:])
		if err == nil && n == 0 {
			err = unix.ECONNRESET
		}
		if err != nil {
			return h, nil, files, err
		}
		got += n
	}
	return h, payload, files, nil
}

// refuse answers a Create before the loop runs.
func refuse(request uint32, code wire.Code, text string) {
	writeRetry(controlFD, wire.Append(nil, wire.TypeError, request, 0, &wire.Error{Code: code, Text: text}))
}

// procFD is a path to an open descriptor.
func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
