// Package nsenter holds `nsenter`: a program of the host in namespaces of a container.
// It is for looking at a container with tools that its image does not have: ip, ss,
// tcpdump, strace.
//
// The client joins the namespaces itself, so it must run as root on the daemon's host.
// A thread of a Go program cannot join a user namespace; a program keeps the host's root
// rights therefore, also in a remapped container.
package nsenter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/kernel/pidfd"
)

type options struct {
	network, ipc, uts, cgroup, pid, mount, all bool
}

// New makes `nsenter`.
func New(a *app.App) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "nsenter [OPTIONS] CONTAINER [COMMAND] [ARG...]",
		Short: "Run a program of the host in namespaces of a container",
		Long: `Run a program of the host in namespaces of a container.

Without options these are the network, IPC, UTS and cgroup namespaces: the program and its
files are the host's. With --mount the container's files are seen, and programs are its own.`,
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.Running),
		Annotations:       map[string]string{app.AliasesKey: "container nsenter, nsenter"},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.NoStart = true
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return enter(cmd.Context(), conn, &o, args[0], args[1:])
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.BoolVarP(&o.all, "all", "a", false, "Every namespace but the user namespace")
	fs.BoolVarP(&o.cgroup, "cgroup", "C", false, "Cgroup namespace")
	fs.BoolVarP(&o.ipc, "ipc", "i", false, "IPC namespace")
	fs.BoolVarP(&o.mount, "mount", "m", false, "Mount namespace: the container's files")
	fs.BoolVarP(&o.network, "net", "n", false, "Network namespace")
	fs.BoolVarP(&o.pid, "pid", "p", false, "PID namespace: the program gets a number among the container's processes")
	fs.BoolVarP(&o.uts, "uts", "u", false, "UTS namespace: the host name")
	return cmd
}

// flags are the CLONE_NEW* flags of what was chosen.
func (o *options) flags() int {
	all := 0
	for _, f := range []struct {
		on   bool
		flag int
	}{
		{o.network, unix.CLONE_NEWNET}, {o.ipc, unix.CLONE_NEWIPC}, {o.uts, unix.CLONE_NEWUTS},
		{o.cgroup, unix.CLONE_NEWCGROUP}, {o.pid, unix.CLONE_NEWPID}, {o.mount, unix.CLONE_NEWNS},
	} {
		if f.on || o.all {
			all |= f.flag
		}
	}
	if all == 0 {
		all = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	}
	return all
}

func enter(ctx context.Context, conn *connect.Conn, o *options, name string, argv []string) error {
	switch {
	case !strings.HasPrefix(conn.Host(), "unix://"):
		return fmt.Errorf("nsenter works on the daemon's own host only, and this daemon is at %s", conn.Host())
	case os.Geteuid() != 0:
		return errors.New("nsenter needs root: it joins namespaces (run it with sudo)")
	}
	process, err := find(ctx, conn, name)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		argv = []string{os.Getenv("SHELL")}
		if argv[0] == "" || o.mount || o.all {
			argv[0] = "/bin/sh"
		}
	}
	runtime.LockOSThread() // until the end: the thread belongs to the container from here on
	flags := o.flags()
	if flags&unix.CLONE_NEWNS != 0 {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("separate the thread's root directory: %w", err)
		}
	}
	if err := unix.Setns(int(process.Fd()), flags); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("container %s is not running", name)
		}
		return fmt.Errorf("join the namespaces of container %s: %w", name, err)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return &app.StatusError{Code: 127, Err: fmt.Errorf("nsenter: %w", err)}
	}
	if flags&unix.CLONE_NEWPID == 0 {
		return fmt.Errorf("run %s: %w", path, syscall.Exec(path, argv, os.Environ()))
	}
	return child(path, argv)
}

// find opens the container's first process: the number alone could mean another by now.
func find(ctx context.Context, conn *connect.Conn, name string) (*os.File, error) {
	pid := func() (int, error) {
		got, err := conn.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
		if err != nil {
			return 0, err
		}
		if s := got.Container.State; s == nil || !s.Running || s.Pid <= 0 {
			return 0, fmt.Errorf("container %s is not running", name)
		}
		return got.Container.State.Pid, nil
	}
	first, err := pid()
	if err != nil {
		return nil, err
	}
	f, err := pidfd.Open(first)
	if errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("container %s is not running", name)
	}
	if err != nil {
		return nil, err
	}
	again, err := pid()
	if err == nil && again != first {
		err = fmt.Errorf("container %s was started again meanwhile", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// child runs the program as a child, since only children are in a joined PID namespace,
// and ends as it does. What a terminal sends goes to both; it is the child's.
func child(path string, argv []string) error {
	// Taken and dropped: to ignore them would make the child ignore them as well.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGQUIT)
	cmd := &exec.Cmd{Path: path, Args: argv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	code := exit.ExitCode()
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	return app.Exit(code)
}
