// Package cli is the command line of the OCI runtime, flag-compatible with runc, and
// taking runc's place where its file is called so. It is what sampan-runtime does when
// it is not a supervisor.
//
// What a command knows of a container lies in its record (package record), by default
// below /run/sampan-runtime.
//
// Errors are one line on standard error, "sampan-runtime: …", and in the log file
// when --log names one. The exit code is runc's: 1, for exec 255, for a command that
// does not exist 3; otherwise that of the container's process (128 + signal). What is
// not there yet, and a flag that cannot be honoured, is refused by name.
//
// Flags are parsed by hand: this program starts once for every container.
package cli

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cli/quiet"
	"github.com/sampan-containers/sampan/runtime/cli/record"
)

// Exit codes beside those of the container's process.
const (
	exitFailure   = 1
	exitNoCommand = 3
	exitExec      = 255 // exec failed: 1 would be a code of the process
	exitSignal    = 128 // plus the signal's number
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
	hidden  bool   // not in help
	seal    bool   // runtime.SealSelf is needed, whatever the specification says
	enters  bool   // goes on as root of a user namespace where the caller is not root
	missing string // why there is no run, for a verb that cannot be carried out
}

// commands in the order in which help shows them.
func commands() []command {
	return []command{
		{name: "checkpoint", args: "<container-id>", about: "checkpoint a running container", run: checkpointCommand},
		{name: "create", args: "<container-id>", about: "create a container", run: createCommand, seal: true, enters: true},
		{name: "delete", args: "<container-id>", about: "delete any resources held by the container often used with detached container", run: deleteCommand},
		{name: "events", args: "<container-id>", about: "display container events such as OOM notifications, cpu, memory, and IO usage statistics", run: eventsCommand},
		{name: "exec", args: "<container-id> <command> [command options]  || -p process.json <container-id>", about: "execute new process inside the container", run: execCommand, seal: true},
		{name: "features", about: "show the enabled features", run: featuresCommand},
		{name: "kill", args: "<container-id> [signal]", about: "kill sends the specified signal (default: SIGTERM) to the container's init process", run: killCommand},
		{name: "list", about: "lists containers started by this runtime with the given root", run: listCommand},
		{name: "pause", args: "<container-id>", about: "pause suspends all processes inside the container", run: pauseCommand},
		{name: "ps", args: "<container-id> [ps options]", about: "ps displays the processes running inside a container", run: psCommand},
		{name: "restore", args: "<container-id>", about: "restore a container from a previous checkpoint", run: restoreCommand},
		{name: "resume", args: "<container-id>", about: "resumes all processes that have been previously paused", run: resumeCommand},
		{name: "run", args: "<container-id>", about: "create and run a container", run: runCommand},
		{name: "spec", args: "[arguments...]", about: "create a new specification file, or explain one", run: specCommand},
		{name: "start", args: "<container-id>", about: "executes the user defined process in a created container", run: startCommand},
		{name: "state", args: "<container-id>", about: "output the state of a container", run: stateCommand},
		{name: "update", args: "<container-id>", about: "update container resource constraints", run: updateCommand},
		{name: "init", hidden: true, missing: "it is runc's internal command"},
	}
}

// call is a command with its global options.
type call struct {
	*Program
	verb    string
	records record.Store
	criu    string   // the program that saves and restores processes; empty: the one in PATH
	args    []string // behind the verb
	systemd bool     // --systemd-cgroup: systemd makes the control groups
	log     *logger
	mounts  int // of run: the container's mount namespace, or -1

	rootless, rootful bool // --rootless: groups that may not be made are left out, or are not
	entered           bool // in the container's user namespace: see enteredFlag
}

// Main runs the command line and returns the exit code.
func (p *Program) Main() int {
	quiet.Watcher()
	c := &call{Program: p, log: &logger{}}
	code, err := c.dispatch()
	return c.report(code, err)
}

func (c *call) report(code int, err error) int {
	if err == nil {
		return code
	}
	c.log.failure(err)
	io.WriteString(c.Stderr, c.name()+": "+oneLine(err.Error())+"\n") //nolint:errcheck // nowhere to tell it
	switch {
	case code != 0:
		return code
	case c.verb == "exec":
		return exitExec
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
	var version, help, debug bool
	var logFile, logFormat, noRoot string
	global := flags{
		{names: "root", text: &c.records.Root, about: "where the records of containers lie (default " + record.DefaultRoot + ")"},
		{names: "log", text: &logFile, about: "log file; errors go to standard error too"},
		{names: "log-format", text: &logFormat, about: "format of the log file"},
		{names: "debug", set: &debug, about: "log what is done"},
		{names: "systemd-cgroup", set: &c.systemd, about: "let systemd make the control groups; linux.cgroupsPath is of the form slice:prefix:name"},
		{names: "rootless", text: &noRoot, about: "ignore cgroup permission errors: true, false or auto (for a user who is not root, and in a user namespace)"},
		{names: "criu", text: &c.criu, about: "the program that saves and restores processes (default: criu, looked for in PATH)"},
		{names: "version v", set: &version, about: "print the version"},
		{names: "help h", set: &help, about: "print this"},
	}
	args := c.Args[1:]
	if len(args) > 0 && args[0] == enteredFlag {
		c.entered, args = true, args[1:]
		c.Args = append(c.Args[:1:1], args...)
	}
	rest, err := global.parse(args, false)
	if err != nil {
		return 0, err
	}
	if c.records.Root == "" {
		if err := c.stateRoot(); err != nil {
			return 0, err
		}
	}
	if err := c.log.open(logFile, logFormat, debug); err != nil {
		return 0, err
	}
	switch {
	case version:
		return 0, c.version()
	case len(rest) > 1 && (rest[0] == "help" || rest[0] == "h"):
		rest = []string{rest[1], "--help"}
	case help || len(rest) == 0 || rest[0] == "help" || rest[0] == "h":
		return 0, c.help(global)
	}
	if err := c.setRootless(noRoot); err != nil {
		return 0, err
	}
	c.verb, c.args = rest[0], rest[1:]
	for _, cmd := range commands() {
		if cmd.name != c.verb {
			continue
		}
		if cmd.run == nil {
			return 0, fault.New(fault.NotImplemented, "%s: %s", cmd.name, cmd.missing)
		}
		if cmd.seal && !(cmd.enters && os.Geteuid() != 0) {
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
		var wrong *wrongUsage
		if errors.As(err, &wrong) {
			io.WriteString(c.Stdout, "Incorrect Usage.\n\n") //nolint:errcheck // the error follows anyway
			_ = c.usage(cmd, wrong.flags)
			return exitFailure, err
		}
		return code, err
	}
	return exitNoCommand, fault.New(fault.Invalid, "No help topic for '%s': there is no such command; see %s --help", c.verb, c.name())
}
