// Package shell is sampan-box's sh: the language is mvdan.cc/sh's (POSIX and
// most of Bash), and this package adds what a person at a terminal and a
// container's first process need: line editing, job control, traps of signals,
// umask, and reaping of orphans as pid 1.
//
// Limits: no `set -m` in scripts, no `wait -n`; `$!` is a name that kill, wait
// and fg of this shell understand, not a pid.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/sampan-containers/sampan/box/tool"
)

const (
	statusMisuse      = 2
	statusNotRunnable = 126
	statusNotFound    = 127
	statusSignalled   = 128
	// maxScript bounds a script that is read as a whole.
	maxScript = 64 << 20
)

// Tools returns the applets.
func Tools() []tool.Tool {
	return []tool.Tool{{Name: "sh", Usage: "[-eiluvx] [-c COMMAND [NAME [ARG...]]] [FILE [ARG...]]", Run: Main}}
}

// shell is one running sh.
type shell struct {
	runner      *interp.Runner
	jobs        *jobs
	traps       *traps
	interactive bool
	terminal    bool // job control
	history     *editor
}

// invocation is a parsed command line.
type invocation struct {
	command             string
	hasCommand          bool
	interactive, login  bool
	fromStdin           bool
	name, file          string
	arguments, settings []string
}

func parseInvocation(args []string) (*invocation, error) {
	v := &invocation{name: "sh"}
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" || arg == "-" {
			args = args[1:]
			break
		}
		if len(arg) < 2 || arg[0] != '-' && arg[0] != '+' {
			break
		}
		args = args[1:]
		if arg == "--login" {
			v.login = true
			continue
		}
		for _, letter := range arg[1:] {
			switch letter {
			case 'c':
				v.hasCommand = true
			case 'i':
				v.interactive = true
			case 'l':
				v.login = true
			case 's':
				v.fromStdin = true
			case 'e', 'u', 'x', 'f', 'n', 'a':
				v.settings = append(v.settings, arg[:1]+string(letter))
			case 'v', 'm', 'h', 'b': // accepted, no effect
			case 'o':
				if len(args) == 0 {
					return nil, errors.New("option -o needs a name")
				}
				v.settings = append(v.settings, arg[:1]+"o", args[0])
				args = args[1:]
			default:
				return nil, fmt.Errorf("unknown option %s%c", arg[:1], letter)
			}
		}
	}
	switch {
	case v.hasCommand:
		if len(args) == 0 {
			return nil, errors.New("option -c needs a command")
		}
		v.command, args = args[0], args[1:]
		if len(args) > 0 {
			v.name, args = args[0], args[1:]
		}
	case len(args) > 0 && !v.fromStdin:
		v.file, v.name, args = args[0], args[0], args[1:]
	}
	v.arguments = args
	return v, nil
}

// Main is the applet.
func Main(c *tool.Call) int {
	v, err := parseInvocation(c.Args)
	if err != nil {
		return c.Misused("%s", err)
	}
	reading := !v.hasCommand && v.file == ""
	terminal := term.IsTerminal(int(os.Stdin.Fd()))
	s := &shell{interactive: v.interactive || reading && terminal}
	s.terminal = s.interactive && terminal
	if err := s.start(v); err != nil {
		return c.Fail("%s", err)
	}
	defer s.jobs.restore()
	if v.login {
		s.source("/etc/profile")
	}
	switch {
	case v.hasCommand:
		return s.script(strings.NewReader(v.command), v.name)
	case v.file != "":
		return s.scriptFile(c, v.file)
	case s.terminal:
		return s.converse()
	}
	return s.stream(os.Stdin)
}

func (s *shell) start(v *invocation) error {
	s.jobs = newJobs(s.terminal)
	s.traps = newTraps(s)
	if os.Getpid() == 1 {
		go s.jobs.reap()
	}
	params := append(append([]string{}, v.settings...), "--")
	runner, err := interp.New(
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Params(append(params, v.arguments...)...),
		interp.Interactive(s.interactive),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
	)
	if err != nil {
		return err
	}
	s.runner = runner
	return nil
}

// run executes statements and returns the last status; exit tells that the
// shell was told to end.
func (s *shell) run(ctx context.Context, node syntax.Node) (status int, exit bool) {
	markSubshells(node)
	markBackground(node)
	err := s.runner.Run(ctx, node)
	var ended interp.ExitStatus
	switch {
	case errors.As(err, &ended):
		return int(ended), s.runner.Exited()
	case err == nil:
		return 0, s.runner.Exited()
	case errors.Is(err, context.Canceled):
		return statusSignalled + s.traps.cause(), false
	}
	fmt.Fprintf(os.Stderr, "sh: %v\n", err)
	return 1, s.runner.Exited()
}

// script runs a whole script; the interpreter runs the EXIT trap at its end.
func (s *shell) script(r io.Reader, name string) int {
	file, err := syntax.NewParser().Parse(io.LimitReader(r, maxScript), name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return statusMisuse
	}
	ctx, done := s.traps.begin()
	defer done()
	status, _ := s.run(ctx, file)
	return status
}

func (s *shell) scriptFile(c *tool.Call, path string) int {
	f, err := os.Open(path)
	if err != nil {
		c.FailPath(path, err)
		return statusNotFound
	}
	defer f.Close()
	return s.script(f, path)
}

// stream runs statements as they come, so that a command may read the lines
// after its own from the same input.
func (s *shell) stream(r io.Reader) int {
	ctx, done := s.traps.begin()
	defer done()
	status := 0
	for stmt, err := range syntax.NewParser().StmtsSeq(&oneByte{r}) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "sh: %v\n", err)
			return statusMisuse
		}
		var exit bool
		if status, exit = s.run(ctx, stmt); exit {
			return status
		}
	}
	return s.leave(status)
}

// oneByte never reads ahead of what the parser needs.
type oneByte struct{ r io.Reader }

func (o *oneByte) Read(p []byte) (int, error) {
	if len(p) > 1 {
		p = p[:1]
	}
	return o.r.Read(p)
}

// source runs a file in this shell if it is there.
func (s *shell) source(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	file, err := syntax.NewParser().Parse(io.LimitReader(f, maxScript), path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return
	}
	s.run(context.Background(), file)
}
