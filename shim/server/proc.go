package server

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
	"github.com/sampan-containers/sampan/shim/wire"
)

// proc is the container's first process or an exec, with its streams.
type proc struct {
	s   *shim
	id  string // of the exec; empty for the container's first process
	tty bool

	pid   int
	pidfd *os.File
	// console keeps the master of the terminal open; the streams have duplicates.
	console *os.File

	in        *input
	outs      []*output
	clients   []*client
	stdinOnce bool // the first client's end of input is the process's

	running bool
	exited  bool
	status  unix.WaitStatus
	at      time.Time
	waiters []waiter
}

// waiter is a request that is answered when the process has ended.
type waiter struct {
	c       *conn
	request uint32
}

// streams are the ends of the standard streams that the new process gets.
type streams struct{ child [3]*os.File }

func (st *streams) close() {
	for _, f := range st.child {
		if f != nil {
			f.Close()
		}
	}
}

// pipes makes the standard streams of a process without a terminal. Without
// openStdin its input is /dev/null.
func (p *proc) pipes(openStdin bool) (*streams, error) {
	st := &streams{}
	if openStdin {
		r, w, err := pipe()
		if err != nil {
			return nil, err
		}
		st.child[0] = os.NewFile(uintptr(r), "stdin")
		unix.SetNonblock(w, true)
		p.in = &input{p: p, fd: w}
	}
	for i, name := range [...]string{1: "stdout", 2: "stderr"} {
		if name == "" {
			continue
		}
		r, w, err := pipe()
		if err != nil {
			st.close()
			p.closeStreams()
			return nil, err
		}
		st.child[i] = os.NewFile(uintptr(w), name)
		unix.SetNonblock(r, true)
		p.outs = append(p.outs, &output{p: p, fd: r, stream: byte(i)})
	}
	return st, nil
}

func pipe() (r, w int, err error) {
	var fds [2]int
	err = unix.Pipe2(fds[:], unix.O_CLOEXEC)
	return fds[0], fds[1], os.NewSyscallError("pipe2", err)
}

// terminal takes over the master of the process's terminal.
func (p *proc) terminal(master *os.File, openStdin bool, height, width uint32) error {
	p.console = master
	fd := int(master.Fd())
	if height > 0 && width > 0 {
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, winsize(height, width))
	}
	unix.SetNonblock(fd, true)
	p.outs = []*output{{p: p, fd: fd, stream: 1, borrowed: true}}
	if openStdin {
		// A descriptor of its own, because epoll has one entry per descriptor.
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return os.NewSyscallError("dup of the terminal", err)
		}
		p.in = &input{p: p, fd: dup}
	}
	return nil
}

func winsize(height, width uint32) *unix.Winsize {
	return &unix.Winsize{Row: uint16(min(height, 1<<16-1)), Col: uint16(min(width, 1<<16-1))}
}

// record sends the output to the log as well.
func (p *proc) record(w *logfile.Writer) {
	for _, o := range p.outs {
		o.log = w.Stream(streamNames[o.stream])
	}
}

var streamNames = [...]string{1: "stdout", 2: "stderr"}

// run begins to serve a process that was started.
func (p *proc) run(pid int, pidfd *os.File) error {
	p.pid, p.pidfd, p.running = pid, pidfd, true
	for _, o := range p.outs {
		if err := o.watch(true); err != nil {
			return err
		}
	}
	return p.s.add(int(pidfd.Fd()), unix.EPOLLIN, p)
}

// ready is called when the process has ended.
func (p *proc) ready(uint32) {
	if p.exited {
		return
	}
	var ws unix.WaitStatus
	pid, err := unix.Wait4(p.pid, &ws, unix.WNOHANG|unix.WALL, nil)
	if err == unix.EINTR || err == nil && pid != p.pid {
		return
	}
	if err != nil {
		ws = unix.WaitStatus(unix.SIGKILL) // somebody else reaped it: unknown
	}
	p.ended(ws)
}

// ended takes note of the exit status and delivers the rest of the output.
func (p *proc) ended(ws unix.WaitStatus) {
	p.exited, p.running = true, false
	p.status, p.at = ws, time.Now()
	p.s.del(int(p.pidfd.Fd()))
	p.pidfd.Close()
	p.pidfd = nil
	if p.in != nil {
		p.in.close()
	}
	if p.id == "" {
		p.s.initEnded()
		return
	}
	p.s.execEnded(p)
}

// code is the exit code as shells and Docker report it.
func (p *proc) code() int {
	if p.status.Signaled() {
		return 128 + int(p.status.Signal())
	}
	return p.status.ExitStatus()
}

func (p *proc) signal() int {
	if p.status.Signaled() {
		return int(p.status.Signal())
	}
	return 0
}

// drain reads what the ended process left in its streams. Further writers (a
// background child of an exec) do not hold it up.
func (p *proc) drain() {
	for _, o := range p.outs {
		for !o.done && o.read() {
		}
	}
}

// flow stops reading the output while a client has to catch up, and goes on
// afterwards.
func (p *proc) flow() {
	if p.exited {
		return
	}
	blocked := false
	for _, c := range p.clients {
		if c.blocked() {
			blocked = true
		}
	}
	for _, o := range p.outs {
		o.watch(!blocked)
	}
}

// release closes the clients once they have everything.
func (p *proc) release() {
	code := uint32(p.code())
	end := [...]byte{wire.FrameEnd, 0, 0, 0, 0, 0, 0, 4, byte(code >> 24), byte(code >> 16), byte(code >> 8), byte(code)}
	for _, c := range p.clients {
		if c.end && !c.ending {
			c.send(end[:])
		}
		c.finish()
	}
}

// closeStreams closes every descriptor of the process's streams.
func (p *proc) closeStreams() {
	for _, o := range p.outs {
		o.close()
	}
	if p.in != nil {
		p.in.close()
	}
	if p.console != nil {
		p.console.Close()
		p.console = nil
	}
}

// remove forgets a client. The list is copied, because a caller may walk over it.
func (p *proc) remove(c *client) {
	kept := make([]*client, 0, len(p.clients))
	for _, other := range p.clients {
		if other != c {
			kept = append(kept, other)
		}
	}
	p.clients = kept
	p.flow()
}

func (p *proc) logStreams() []*logfile.Stream {
	var list []*logfile.Stream
	for _, o := range p.outs {
		if o.log != nil {
			list = append(list, o.log)
		}
	}
	return list
}
