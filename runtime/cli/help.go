package cli

import (
	"io"
	"path/filepath"
	goruntime "runtime"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// wrongUsage is an error for which the help of the command is shown.
type wrongUsage struct {
	text  string
	flags flags
}

func (e *wrongUsage) Error() string { return e.text }

// name is how the program calls itself: callers that know runc only look for its name.
func (p *Program) name() string {
	if len(p.Args) > 0 && filepath.Base(p.Args[0]) == "runc" {
		return "runc"
	}
	return "sampan-runtime"
}

func (c *call) version() error {
	_, err := io.WriteString(c.Stdout, c.name()+" version "+c.Version+"\ncommit: "+c.Commit+"\nspec: "+specs.Version+"\ngo: "+goruntime.Version()+"\n")
	return err
}

func (c *call) help(global flags) error {
	var b strings.Builder
	b.WriteString("NAME:\n   " + c.name() + " - Open Container Initiative runtime\n\n" +
		"It starts containers from OCI bundles: directories with a config.json and a root file system.\n\n" +
		"USAGE:\n   " + c.name() + " [global options] command [command options] [arguments...]\n\n" +
		"VERSION:\n   " + c.Version + "\ncommit: " + c.Commit + "\nspec: " + specs.Version + "\ngo: " + goruntime.Version() + "\n\nCOMMANDS:\n")
	for _, cmd := range commands() {
		if !cmd.hidden {
			column(&b, cmd.name, cmd.about)
		}
	}
	column(&b, "help, h", "Shows a list of commands or help for one command")
	b.WriteString("\nGLOBAL OPTIONS:\n")
	global.describe(&b)
	_, err := io.WriteString(c.Stdout, b.String())
	return err
}

func (c *call) usage(cmd command, f flags) error {
	var b strings.Builder
	options := ""
	if len(f) > 0 {
		options = "[command options] "
	}
	b.WriteString("NAME:\n   " + c.name() + " " + cmd.name + " - " + cmd.about + "\n\nUSAGE:\n   " + c.name() + " " + cmd.name + " " + options + cmd.args + "\n")
	if len(f) > 0 {
		b.WriteString("\nOPTIONS:\n")
		f.describe(&b)
	}
	_, err := io.WriteString(c.Stdout, b.String())
	return err
}

// column writes one line of a help text.
func column(b *strings.Builder, left, right string) {
	const width = 36
	b.WriteString("   " + left + strings.Repeat(" ", max(1, width-len(left))) + right + "\n")
}
