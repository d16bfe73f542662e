package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"github.com/sampan-containers/sampan/box/applets"
)

// self runs an applet when there is no link of its name.
const self = "/proc/self/exe"

// ownPrefix marks commands that the interpreter has no use of its own for and
// that exec answers.
const ownPrefix = "\x00"

// own are the builtins that the interpreter refuses, or that need to know of
// jobs and signals.
var own = []string{"bg", "exec", "fg", "history", "jobs", "kill", "trap", "ulimit", "umask", "wait"}

// call is asked before each simple command and sends our builtins to exec.
func (s *shell) call(_ context.Context, args []string) ([]string, error) {
	if slices.Contains(own, args[0]) && (args[0] != "exec" || len(args) > 1) {
		return append([]string{ownPrefix + args[0]}, args[1:]...), nil
	}
	return args, nil
}

// exec runs everything that is no function and no builtin of the interpreter.
func (s *shell) exec(ctx context.Context, args []string) error {
	name, isOwn := strings.CutPrefix(args[0], ownPrefix)
	if isOwn {
		return s.traps.check(ctx, s.builtin(ctx, name, args[1:]))
	}
	return s.traps.check(ctx, s.command(ctx, args))
}

func complain(hc interp.HandlerContext, status uint8, format string, args ...any) error {
	fmt.Fprintf(hc.Stderr, "sh: "+format+"\n", args...)
	return interp.ExitStatus(status)
}

// find returns what to execute for a name.
func find(hc interp.HandlerContext, name string) (path string, err error) {
	path, err = interp.LookPathDir(hc.Dir, hc.Env, name)
	if err == nil {
		return path, nil
	}
	if !strings.Contains(name, "/") {
		if slices.Contains(applets.Names(), name) {
			return self, nil
		}
		return "", complain(hc, statusNotFound, "%s: not found", name)
	}
	full := name
	if !strings.HasPrefix(name, "/") {
		full = hc.Dir + "/" + name
	}
	st, err := os.Stat(full)
	switch {
	case err != nil:
		return "", complain(hc, statusNotFound, "%s: not found", name)
	case st.IsDir():
		return "", complain(hc, statusNotRunnable, "%s: is a directory", name)
	}
	return "", complain(hc, statusNotRunnable, "%s: permission denied", name)
}

func environment(env expand.Environ) []string {
	var list []string
	env.Each(func(name string, v expand.Variable) bool {
		if v.Exported && v.Kind == expand.String {
			list = append(list, name+"="+v.String())
		}
		return true
	})
	return list
}

func newCommand(hc interp.HandlerContext, path string, args []string) *exec.Cmd {
	return &exec.Cmd{
		Path: path, Args: args, Env: environment(hc.Env), Dir: hc.Dir,
		Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr,
	}
}

func (s *shell) command(ctx context.Context, args []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	hc := interp.HandlerCtx(ctx)
	path, err := find(hc, args[0])
	if err != nil {
		return err
	}
	background := backgroundJob(hc.Env)
	cmd := newCommand(hc, path, args)
	p, err := s.jobs.start(cmd, background, strings.Join(args, " "))
	// A file that another thread of ours had open for writing when it forked
	// (https://go.dev/issue/22315) is free again in a moment.
	for delay := time.Millisecond; errors.Is(err, unix.ETXTBSY) && delay < 300*time.Millisecond; delay *= 2 {
		time.Sleep(delay)
		cmd = newCommand(hc, path, args)
		p, err = s.jobs.start(cmd, background, strings.Join(args, " "))
	}
	if errors.Is(err, unix.ENOEXEC) {
		if isBinary(path) {
			return complain(hc, statusNotRunnable, "%s: cannot execute: it is for another machine, or no program", args[0])
		}
		// A script without #! is for this shell.
		cmd = newCommand(hc, self, append([]string{"sh", path}, args[1:]...))
		p, err = s.jobs.start(cmd, background, strings.Join(args, " "))
	}
	if err != nil {
		return startError(hc, args[0], err)
	}
	return s.await(p)
}

func startError(hc interp.HandlerContext, name string, err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, unix.ENOENT) {
		return complain(hc, statusNotFound, "%s: not found (or its interpreter is missing)", name)
	}
	return complain(hc, statusNotRunnable, "%s: %v", name, err)
}

func isBinary(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	return (err == nil || err == io.ErrUnexpectedEOF) && bytes.IndexByte(head[:n], 0) >= 0
}

// await waits for a process and turns its end into a status.
func (s *shell) await(p *process) error {
	if p.job.background == 0 {
		s.traps.running(1)
		defer s.traps.running(-1)
	}
	err := s.jobs.wait(p)
	if errors.Is(err, errStopped) {
		return interp.ExitStatus(uint8(statusSignalled + unix.SIGTSTP))
	}
	return s.ended(p, err)
}

func (s *shell) ended(p *process, err error) error {
	var exited *exec.ExitError
	if !errors.As(err, &exited) {
		return err
	}
	status, ok := exited.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return interp.ExitStatus(uint8(exited.ExitCode()))
	}
	if status.Signal() == unix.SIGINT && s.interactive && p.job.background == 0 {
		s.traps.interrupted()
	}
	return interp.ExitStatus(uint8(statusSignalled + int(status.Signal())))
}

func (s *shell) builtin(ctx context.Context, name string, args []string) error {
	hc := interp.HandlerCtx(ctx)
	switch name {
	case "trap":
		return s.traps.command(ctx, args)
	case "umask":
		return umask(hc, args)
	case "ulimit":
		return ulimit(hc, args)
	case "kill":
		return s.kill(hc, args)
	case "jobs":
		s.jobs.report(hc.Stdout, true)
		return nil
	case "fg", "bg":
		return s.resume(hc, name, args)
	case "history":
		if s.history != nil {
			for i, line := range s.history.history {
				fmt.Fprintf(hc.Stdout, "%5d  %s\n", i+1, line)
			}
		}
		return nil
	case "wait":
		return s.wait(ctx, args)
	}
	return s.replace(ctx, args)
}

// wait is the interpreter's, but a trapped signal ends it, as POSIX says.
func (s *shell) wait(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	for i, arg := range args {
		if job := s.jobs.pick(arg); job != nil && job.background != 0 {
			args[i] = "g" + strconv.Itoa(job.background)
		}
	}
	arrived := s.traps.arrived()
	done := make(chan error, 1)
	go func() { done <- hc.Builtin(ctx, append([]string{"wait"}, args...)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-arrived:
		return interp.ExitStatus(statusSignalled + 1)
	}
}

func (s *shell) resume(hc interp.HandlerContext, name string, args []string) error {
	if !s.jobs.control {
		return complain(hc, 1, "%s: no job control", name)
	}
	spec := ""
	if len(args) > 0 {
		spec = args[0]
	}
	job := s.jobs.pick(spec)
	if job == nil {
		return complain(hc, 1, "%s: no such job: %s", name, spec)
	}
	fmt.Fprintln(hc.Stderr, job.text)
	if name == "fg" {
		s.traps.running(1)
		defer s.traps.running(-1)
	}
	err := s.jobs.resume(job, name == "fg")
	if errors.Is(err, errStopped) {
		return interp.ExitStatus(uint8(statusSignalled + unix.SIGTSTP))
	}
	return s.ended(&process{job: job}, err)
}

func (s *shell) kill(hc interp.HandlerContext, args []string) error {
	sig := syscall.SIGTERM
	if len(args) > 0 && args[0] == "-l" {
		for n := syscall.Signal(1); n < 32; n++ {
			fmt.Fprintf(hc.Stdout, "%2d) %s\n", n, unix.SignalName(n))
		}
		return nil
	}
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0] != "--" {
		text := args[0][1:]
		args = args[1:]
		if (text == "s" || text == "n") && len(args) > 0 {
			text, args = args[0], args[1:]
		}
		var ok bool
		if sig, ok = parseSignal(text); !ok && text != "0" {
			return complain(hc, 1, "kill: bad signal %s", text)
		}
	}
	if len(args) == 0 {
		return complain(hc, statusMisuse, "usage: kill [-SIGNAL] PID|%%JOB...")
	}
	failed := false
	for _, arg := range args {
		if arg == "--" {
			continue
		}
		var err error
		if job := s.target(arg); job != nil {
			err = s.jobs.signal(job, sig)
		} else if pid, perr := strconv.Atoi(arg); perr != nil {
			err = errors.New("no such job")
		} else {
			err = unix.Kill(pid, sig)
		}
		if err != nil {
			fmt.Fprintf(hc.Stderr, "sh: kill: %s: %v\n", arg, err)
			failed = true
		}
	}
	if failed {
		return interp.ExitStatus(1)
	}
	return nil
}

// target finds the job of %1 or g1; a plain number is a pid.
func (s *shell) target(arg string) *job {
	if !strings.HasPrefix(arg, "%") && !strings.HasPrefix(arg, "g") {
		return nil
	}
	// Right after `command &` its process may not have begun.
	const patience, pause = 500 * time.Millisecond, 5 * time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		if job := s.jobs.pick(arg); job != nil || waited >= patience {
			return job
		}
		time.Sleep(pause)
	}
}

func umask(hc interp.HandlerContext, args []string) error {
	if len(args) == 0 || args[0] == "-S" {
		mask := unix.Umask(0)
		unix.Umask(mask)
		fmt.Fprintf(hc.Stdout, "%04o\n", mask)
		return nil
	}
	mask, err := strconv.ParseUint(args[0], 8, 9)
	if err != nil {
		return complain(hc, 1, "umask: %s: not an octal mask", args[0])
	}
	unix.Umask(int(mask))
	return nil
}

func ulimit(hc interp.HandlerContext, args []string) error {
	resources := map[string]int{"-n": unix.RLIMIT_NOFILE, "-u": unix.RLIMIT_NPROC, "-c": unix.RLIMIT_CORE, "-f": unix.RLIMIT_FSIZE, "-s": unix.RLIMIT_STACK, "-v": unix.RLIMIT_AS, "-t": unix.RLIMIT_CPU}
	kind := "-f"
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if args[0] != "-S" && args[0] != "-H" {
			kind = args[0]
		}
		args = args[1:]
	}
	resource, ok := resources[kind]
	if !ok {
		return complain(hc, 1, "ulimit: option %s is not supported", kind)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return complain(hc, 1, "ulimit: %v", err)
	}
	if len(args) == 0 {
		text := strconv.FormatUint(limit.Cur, 10)
		if limit.Cur == unix.RLIM_INFINITY {
			text = "unlimited"
		}
		fmt.Fprintln(hc.Stdout, text)
		return nil
	}
	value := uint64(unix.RLIM_INFINITY)
	if args[0] != "unlimited" {
		var err error
		if value, err = strconv.ParseUint(args[0], 10, 64); err != nil {
			return complain(hc, 1, "ulimit: %s: not a number", args[0])
		}
	}
	limit.Cur = value
	limit.Max = max(limit.Max, value)
	if err := unix.Setrlimit(resource, &limit); err != nil {
		return complain(hc, 1, "ulimit: %v", err)
	}
	return nil
}
