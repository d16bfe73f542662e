package runtime

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// defaultPath is searched when the process has no PATH (execvp(3) does likewise).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// errExec marks the site of the execve.
var errExec = errors.New("execve")

// execute adds the execve: one call if the program is a path, one for each
// directory of PATH otherwise. A candidate that is missing is passed over; one that
// may not be executed is remembered, as execvp(3) does.
func (p *plan) execute() error {
	args := p.process.Args
	if len(args) == 0 || args[0] == "" {
		return fault.New(fault.Invalid, "no command is given")
	}
	b := p.b
	b.AtSite(launch.Site{What: "exec " + args[0], Class: errExec})
	argv, env := b.Strs(args), b.Strs(p.process.Env)
	files := Candidates(args[0], p.process.Env)
	switch {
	case p.bounce != nil:
		b.ExecTrampoline(p.bounce, p.untilFD(p.bounce.File()), p.reportFD(), files, argv, env)
		return nil
	case len(files) == 1:
		b.Call(unix.SYS_EXECVE, b.Str(files[0]), argv, env)
		return nil
	}
	denied := b.Slot()
	b.Set(denied, launch.Int(int(syscall.ENOENT)))
	for _, file := range files {
		failed, notDir, maybeDenied, fatal, next := b.Label(), b.Label(), b.Label(), b.Label(), b.Label()
		b.Call(unix.SYS_EXECVE, b.Str(file), argv, env).Else(failed)
		b.Mark(failed)
		b.IfNot(launch.Errno, uintptr(syscall.ENOENT), notDir)
		b.Goto(next)
		b.Mark(notDir)
		b.IfNot(launch.Errno, uintptr(syscall.ENOTDIR), maybeDenied)
		b.Goto(next)
		b.Mark(maybeDenied)
		b.IfNot(launch.Errno, uintptr(syscall.EACCES), fatal)
		b.Set(denied, launch.Int(int(syscall.EACCES)))
		b.Goto(next)
		b.Mark(fatal)
		b.FailWith(launch.In(launch.Errno))
		b.Mark(next)
	}
	b.FailWith(launch.In(denied))
	return nil
}

// Candidates are the files that a command may mean, in the order of PATH.
func Candidates(command string, env []string) []string {
	if strings.Contains(command, "/") {
		return []string{command}
	}
	var files []string
	for _, dir := range strings.Split(searchPath(env), ":") {
		if strings.HasPrefix(dir, "/") { // not relative to a directory that the image chose
			files = append(files, strings.TrimRight(dir, "/")+"/"+command)
		}
	}
	return files
}

func searchPath(env []string) string {
	for _, kv := range env {
		if dirs, ok := strings.CutPrefix(kv, "PATH="); ok {
			return dirs
		}
	}
	return defaultPath
}

// programError is an error about the program itself.
type programError struct {
	text  string
	class error // ErrNotFound, ErrNotExecutable, or nil
	errno syscall.Errno
}

func (e *programError) Error() string { return e.text }

func (e *programError) Unwrap() []error {
	if e.class == nil {
		return []error{e.errno}
	}
	return []error{e.errno, e.class}
}

// execError turns the errno of a failed execve into the sentence that clients of the
// Engine API know.
func execError(program string, errno syscall.Errno) error {
	e := &programError{errno: errno}
	switch {
	case errno == syscall.ENOENT && !strings.Contains(program, "/"):
		e.class, e.text = ErrNotFound, `exec: "`+program+`": executable file not found in $PATH`
	case errno == syscall.ENOENT, errno == syscall.ENOTDIR:
		e.class = ErrNotFound
		e.text = "exec " + program + ": no such file or directory (in the container: the file itself, or the interpreter that it names)"
	case errno == syscall.EACCES:
		e.class = ErrNotExecutable
		e.text = "exec " + program + ": permission denied (it is a directory, or the user has no right to execute it)"
	case errno == syscall.ELOOP:
		e.class = ErrNotExecutable
		e.text = "exec " + program + ": too many levels of symbolic links (a link in its path leads back to itself)"
	case errno == syscall.ENOEXEC:
		e.class = ErrNotExecutable
		e.text = "exec " + program + ": exec format error (it is no program for this machine, or a script without #! in its first line)"
	case errno == syscall.E2BIG:
		e.text = "exec " + program + ": the arguments and the environment are too long"
	case errno == syscall.ENOMEM:
		e.text = "exec " + program + ": out of memory (is the memory limit too small?)"
	default:
		e.text = "exec " + program + ": " + errno.Error()
	}
	return e
}

// explain turns a failure that the child reported into the error for the caller.
func explain(err error, program string) error {
	var f *launch.Failure
	if errors.As(err, &f) && errors.Is(f.Site.Class, errExec) {
		return execError(program, f.Errno)
	}
	return err
}
