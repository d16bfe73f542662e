// Package cli is the command line of the OCI runtime, flag-compatible with runc:
// run, create, start, kill, delete, state, list, exec, pause, resume, spec and
// features on a bundle. It is what sampan-runtime does when it is not a
// supervisor.
//
// A container's record lies in ROOT/ID/state.json (default root
// /run/sampan-runtime), where ROOT should be on a tmpfs: a record does not survive
// a boot any more than the container does. Every command that changes a container
// holds a lock (flock) on that directory.
//
// Errors are one line on standard error, "sampan-runtime: …", and in the log file
// when --log names one. The exit code is 1, for run and exec 127 when the program
// does not exist and 126 when it cannot be executed; otherwise that of the
// container's process (128 + signal). What is not there yet (checkpoint, restore,
// events, …), and a flag that cannot be honoured, is refused by name.
//
// Flags are parsed by hand: this program starts once for every container.
package cli

import (
	"errors"
	"io"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
)

// Exit codes beside those of the container's process.
const (
	exitFailure       = 1
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // plus the signal's number
)

// Program is one call of the command line.
type Program struct {
	Version string // shown by --version and in features
	Commit  string
	Args    []string // os.Args
	Stdout  io.Writer
	Stderr  io.Writer
}

// command is one verb.
type command struct {
	name    string
	args    string // for the usage line
	about   string
	run     func(*call) (int, error)
	seal    bool   // runtime.SealSelf is needed, whatever the specification says
	missing string // why there is no run, for a verb that cannot be carried out
}

// commands in the order in which help shows them.
func commands() []command {
	return []command{
		{name: "run", args: "[options] ID", about: "create and start a container, and wait for its end", run: runCommand},
		{name: "create", args: "[options] ID", about: "create a container, up to its start", run: createCommand, seal: true},
		{name: "start", args: "ID", about: "start a created container", run: startCommand},
		{name: "kill", args: "[--all] ID [SIGNAL]", about: "send a signal (default TERM) to a container's first process", run: killCommand},
		{name: "delete", args: "[--force] ID", about: "remove what is left of a container", run: deleteCommand},
		{name: "state", args: "ID", about: "print a container's state as JSON", run: stateCommand},
		{name: "list", args: "[--format table|json] [--quiet]", about: "list containers", run: listCommand},
		{name: "exec", args: "[options] ID COMMAND [ARG...]", about: "run a further process in a container", run: execCommand, seal: true},
		{name: "pause", args: "ID", about: "stop all processes of a container", run: pauseCommand},
		{name: "resume", args: "ID", about: "let the processes of a paused container go on", run: resumeCommand},
		{name: "spec", args: "[--bundle DIR]", about: "write an example config.json", run: specCommand},
		{name: "features", about: "print what this runtime can do as JSON", run: featuresCommand},
		{name: "checkpoint", missing: "a container cannot be checkpointed yet"},
		{name: "restore", missing: "a container cannot be restored yet"},
		{name: "events", missing: "statistics and events are not there yet; read the files of the control group, whose path state shows"},
		{name: "ps", missing: "processes cannot be listed yet; read cgroup.procs of the control group"},
		{name: "update", missing: "limits cannot be changed yet; write the files of the control group"},
		{name: "init", missing: "it is runc's internal command"},
	}
}

// call is a command with its global options.
type call struct {
	*Program
	verb string
	root string
	args []string // behind the verb
	log  *logger
}

// Main runs the command line and returns the exit code.
func (p *Program) Main() int {
	quiet()
	c := &call{Program: p, log: &logger{}}
	code, err := c.dispatch()
	return c.report(code, err)
}

func (c *call) report(code int, err error) int {
	if err == nil {
		return code
	}
	c.log.failure(err)
	io.WriteString(c.Stderr, "sampan-runtime: "+oneLine(err.Error())+"\n") //nolint:errcheck // nowhere to tell it
	switch {
	case code != 0:
		return code
	case c.verb == "run" || c.verb == "exec":
		return exitCode(err)
	}
	return exitFailure
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, runtime.ErrNotFound):
		return exitNotFound
	case errors.Is(err, runtime.ErrNotExecutable):
		return exitNotExecutable
	}
	return exitFailure
}

// oneLine keeps an error on one line, and harmless to a terminal, whatever a
// specification has put into it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func (c *call) dispatch() (int, error) {
	var version, help, debug, systemd bool
	var logFile, logFormat, rootless, criu string
	global := flags{
		{names: "root", text: &c.root, arg: "DIR", about: "where the records of containers lie (default " + defaultRoot + ")"},
		{names: "log", text: &logFile, arg: "FILE", about: "log file; errors go to standard error too"},
		{names: "log-format", text: &logFormat, arg: "text|json", about: "format of the log file"},
		{names: "debug", set: &debug, about: "log what is done"},
		{names: "systemd-cgroup", set: &systemd, about: "not supported"},
		{names: "rootless", text: &rootless, arg: "false", about: "not supported, other than false or auto"},
		{names: "criu", text: &criu, arg: "PATH", about: "accepted for compatibility; there is no checkpoint yet"},
		{names: "version v", set: &version, about: "print the version"},
		{names: "help h", set: &help, about: "print this"},
	}
	rest, err := global.parse(c.Args[1:], false)
	if err != nil {
		return 0, err
	}
	if c.root == "" {
		c.root = defaultRoot
	}
	if err := c.log.open(logFile, logFormat, debug); err != nil {
		return 0, err
	}
	switch {
	case version:
		return 0, c.version()
	case help || len(rest) == 0 || rest[0] == "help":
		return 0, c.help(global)
	case systemd:
		return 0, fault.New(fault.NotImplemented, "--systemd-cgroup is not supported; control groups are made directly, below a delegated parent if you give one in linux.cgroupsPath")
	case rootless != "" && rootless != "false" && rootless != "auto":
		return 0, fault.New(fault.NotImplemented, "--rootless is not supported yet; run as root, or as root of a user namespace")
	}
	c.verb, c.args = rest[0], rest[1:]
	for _, cmd := range commands() {
		if cmd.name != c.verb {
			continue
		}
		if cmd.run == nil {
			return 0, fault.New(fault.NotImplemented, "%s: %s", cmd.name, cmd.missing)
		}
		if cmd.seal {
			if err := runtime.SealSelf(); err != nil {
				return 0, err
			}
		}
		c.log.debugf("%s %q", c.verb, c.args)
		code, err := cmd.run(c)
		var usage *usageRequest
		if errors.As(err, &usage) {
			return 0, c.usage(cmd, usage.flags)
		}
		return code, err
	}
	return 0, fault.New(fault.Invalid, "there is no command %q; see sampan-runtime --help", c.verb)
}

func (c *call) version() error {
	_, err := io.WriteString(c.Stdout, "sampan-runtime version "+c.Version+"\ncommit: "+c.Commit+"\nspec: "+specs.Version+"\n")
	return err
}

func (c *call) help(global flags) error {
	var b strings.Builder
	b.WriteString("sampan-runtime starts containers from OCI bundles.\n\nUsage: sampan-runtime [options] COMMAND [options] …\n\nCommands:\n")
	for _, cmd := range commands() {
		if cmd.run != nil {
			column(&b, cmd.name+" "+cmd.args, cmd.about)
		}
	}
	b.WriteString("\nOptions:\n")
	global.describe(&b)
	_, err := io.WriteString(c.Stdout, b.String())
	return err
}

func (c *call) usage(cmd command, f flags) error {
	var b strings.Builder
	b.WriteString("Usage: sampan-runtime " + strings.TrimSpace(cmd.name+" "+cmd.args) + "\n\n" + cmd.about + "\n")
	if len(f) > 0 {
		b.WriteString("\nOptions:\n")
		f.describe(&b)
	}
	_, err := io.WriteString(c.Stdout, b.String())
	return err
}

// column writes one line of a help text.
func column(b *strings.Builder, left, right string) {
	const width = 36
	b.WriteString("  " + left + strings.Repeat(" ", max(1, width-len(left))) + right + "\n")
}
