package cli

import (
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/fdpass"
	"github.com/sampan-containers/sampan/runtime/cli/tty"
)

// checkTerminal finds out early whether the terminal has somewhere to go.
func (o *launchOptions) checkTerminal(p *specs.Process) error {
	terminal := p != nil && p.Terminal
	switch {
	case terminal && o.detach && o.console == "":
		return fault.New(fault.Invalid, "process.terminal is set, but nobody would hold the terminal of a detached container; give --console-socket, or set terminal to false")
	case terminal && o.console == "" && tty.Ours() == nil:
		return fault.New(fault.Invalid, "process.terminal is set, but standard input, output and error are no terminal, and there is no controlling one; give --console-socket, or set terminal to false")
	case !terminal && o.console != "":
		return fault.New(fault.Invalid, "--console-socket is given, but the process has no terminal; set process.terminal (or --tty), or leave the option out")
	}
	return nil
}

// sendConsole hands the master of the terminal to whoever listens at the console
// socket, as runc does: its name as data, with the descriptor.
func (o *launchOptions) sendConsole(master *os.File) error {
	if o.console == "" {
		return nil
	}
	if master == nil {
		return fmt.Errorf("send the terminal to %s: the launch made none", o.console)
	}
	name := master.Name()
	if name == "" {
		name = "/dev/ptmx"
	}
	if err := sendTo(o.console, name, master); err != nil {
		return fmt.Errorf("send the terminal: %w", err)
	}
	return master.Close()
}

// sendTo connects to a UNIX socket and sends a descriptor with a name.
func sendTo(socket, name string, f *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connect to %s: %w", socket, err)
	}
	return fdpass.Send(fd, []byte(name), f)
}
