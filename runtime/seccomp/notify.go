package seccomp

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/fdpass"
)

// CheckNotify finds out early what would leave the process waiting for ever: until the
// listener's descriptor has left it, nobody answers for the calls it makes.
func CheckNotify(s *specs.LinuxSeccomp) error {
	if s.DefaultAction == specs.ActNotify {
		return fault.New(fault.Invalid, "seccomp: SCMP_ACT_NOTIFY cannot be the default action: nobody would answer for the calls by which the process is started")
	}
	for _, r := range s.Syscalls {
		if r.Action != specs.ActNotify {
			continue
		}
		for _, name := range []string{"write", "sendmsg"} {
			if slices.Contains(r.Names, name) {
				return fault.New(fault.Invalid, "seccomp: SCMP_ACT_NOTIFY cannot be used for the %s syscall: it brings the descriptor to the listener", name)
			}
		}
	}
	if s.ListenerPath == "" {
		return fault.New(fault.Invalid, "seccomp: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath")
	}
	return nil
}

// SendListener hands the notification descriptor of a process to whoever listens at
// listenerPath (config-linux.md, the container process state).
func SendListener(s *specs.LinuxSeccomp, listener *os.File, pid int, state *specs.State) error {
	defer listener.Close()
	data, err := json.Marshal(&specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: s.ListenerMetadata, State: *state,
	})
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("seccomp: make a socket for the listener: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: s.ListenerPath}); err != nil {
		return fault.New(fault.Invalid, "seccomp: failed to connect with seccomp agent (linux.seccomp.listenerPath) at %s: %w", s.ListenerPath, err)
	}
	if err := fdpass.Send(fd, data, listener); err != nil {
		return fmt.Errorf("seccomp: send the notification descriptor to %s: %w", s.ListenerPath, err)
	}
	return nil
}
