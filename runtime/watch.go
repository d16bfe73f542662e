package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/pidfd"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// watch follows a program from its clone to its execve.
type watch struct {
	child   *launch.Child
	program string // for the error of the execve
	first   bool   // the first process is not the final one, and not reaped yet
	files   int    // descriptors that the child has to send
	hold    bool   // the child waits before the execve
	hooked  bool   // the child waits for hooks
	late    bool   // the final process is made last, after the hooks
	atWait  func(pid int) error
	notify  func(f *os.File, pid int) error // takes the seccomp listener, if the child has one to send

	pid   int // the final process
	pidfd *os.File
	got   []*os.File
	done  bool // nothing but the execve is left
	held  bool
}

var errTalk = errors.New("the process being started said something that it was not asked for")

func startWatch(p *launch.Program, o launch.StartOptions, forks bool) (*watch, error) {
	child, err := p.Start(o)
	if err != nil {
		return nil, err
	}
	w := &watch{child: child, first: forks}
	if !forks {
		w.pid, w.pidfd = child.Pid, child.PidFD
	}
	return w, nil
}

// listen returns when the program was executed, or at the barrier if it holds. On
// failure it ends and reaps all processes.
func (w *watch) listen() error {
	err := w.follow()
	if err == nil && !w.held {
		err = w.check()
	}
	if err != nil {
		w.abort()
		return err
	}
	if w.first {
		w.child.Wait()
		w.child.PidFD.Close()
		w.first = false
	}
	if !w.held {
		w.child.Close()
	}
	return nil
}

func (w *watch) follow() error {
	for {
		m, err := w.child.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return explain(err, w.program)
		}
		if stop, err := w.take(m); stop || err != nil {
			return err
		}
	}
}

// take handles one message. What the child may say is known in advance; more than
// that is an attack or a defect.
func (w *watch) take(m launch.Message) (stop bool, err error) {
	switch m.Kind {
	case launch.Forked:
		return false, w.adopt(int(m.Value))
	case launch.Files:
		if w.notify != nil && len(m.Files) == 1 && (w.files == 0 || w.got != nil) {
			return false, w.listener(m)
		}
		if len(m.Files) != w.files || w.got != nil {
			for _, f := range m.Files {
				f.Close()
			}
			return false, errTalk
		}
		w.got = m.Files
		return false, nil
	case launch.Done:
		w.done = true
		return false, nil
	case launch.Waits:
		if w.hooked {
			w.hooked = false
			pid := w.child.Pid
			if !w.late {
				if err := w.needPid(); err != nil {
					return false, err
				}
				pid = w.pid
			}
			if err := w.atWait(pid); err != nil {
				return false, err
			}
			return false, w.child.Continue()
		}
		if w.hold && !w.held {
			w.held = true
			return true, w.needPid()
		}
	}
	return false, errTalk
}

// needPid reads on until the final process is known.
func (w *watch) needPid() error {
	for w.pid == 0 {
		m, err := w.child.Next()
		if err != nil {
			return explain(err, w.program)
		}
		if m.Kind != launch.Forked {
			return errTalk
		}
		if err := w.adopt(int(m.Value)); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes a process for the final one. The number came from outside, so it must
// be that of a child of ours that has not been reaped: then it means one process.
func (w *watch) adopt(pid int) error {
	if !w.first || w.pid != 0 || pid <= 1 || pid == w.child.Pid {
		return errTalk
	}
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	if err != nil {
		return errTalk
	}
	f, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	w.pid, w.pidfd = pid, f
	return nil
}

// check decides whether the end of the conversation was a successful execve.
func (w *watch) check() error {
	if w.done && w.pid != 0 && (w.files == 0 || w.got != nil) {
		return nil
	}
	// Whichever process was killed, its end is told by the one that is still ours.
	pid := w.child.Pid
	if !w.first {
		pid = w.pid
	}
	status, ok := launch.Reap(pid)
	how := "it ended early"
	if ok && status.Signaled() {
		how = fmt.Sprintf("it was killed by signal %d, %s", int(status.Signal()), status.Signal())
		if status.Signal() == syscall.SIGKILL {
			how += " (is the memory limit too small?)"
		}
	}
	return fault.New(fault.Invalid, "the container's first process did not get to its program: %s", how)
}

// abort ends and reaps what was started.
func (w *watch) abort() {
	if w.first && w.pid == 0 {
		w.findFinal()
	}
	if w.first {
		w.child.Kill()
		w.child.PidFD.Close()
		w.first = false
	}
	if w.pid != 0 {
		_ = pidfd.Signal(w.pidfd, syscall.SIGKILL)
		launch.Reap(w.pid)
		w.pidfd.Close()
	}
	w.child.Close()
	for _, f := range w.got {
		f.Close()
	}
	w.got = nil
}

// findFinal learns of a final process that failed before its number was read. The
// first process ends by itself right after its fork, and says the number before
// that; killing it earlier would leave a process that nobody knows.
func (w *watch) findFinal() {
	w.child.Wait()
	w.child.PidFD.Close()
	w.first = false
	if w.child.DoNotWait() != nil {
		return
	}
	for {
		m, err := w.child.Next()
		var failure *launch.Failure
		if errors.As(err, &failure) {
			continue
		}
		if err != nil || m.Kind == launch.Forked && w.adopt(int(m.Value)) == nil {
			return
		}
		for _, f := range m.Files {
			f.Close()
		}
	}
}
