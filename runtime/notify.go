package runtime

import (
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// onListener is what a watch does with the descriptor; nil if the profile has none.
func (p *plan) onListener(state func(pid int) *specs.State) func(*os.File, int) error {
	if p.flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
		return nil
	}
	return func(f *os.File, pid int) error { return seccomp.SendListener(p.linux.Seccomp, f, pid, state(pid)) }
}

// listener takes the notification descriptor out of a message.
func (w *watch) listener(m launch.Message) error {
	f := m.Files[0]
	send := w.notify
	w.notify = nil
	pid := w.pid
	if pid == 0 {
		pid = w.child.Pid
	}
	return send(f, pid)
}
