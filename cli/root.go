package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/checkpoint"
	"github.com/sampan-containers/sampan/cli/container"
	"github.com/sampan-containers/sampan/cli/container/cp"
	"github.com/sampan-containers/sampan/cli/container/logs"
	"github.com/sampan-containers/sampan/cli/container/nsenter"
	"github.com/sampan-containers/sampan/cli/container/recreate"
	"github.com/sampan-containers/sampan/cli/container/stats"
	"github.com/sampan-containers/sampan/cli/contexts"
	"github.com/sampan-containers/sampan/cli/image"
	"github.com/sampan-containers/sampan/cli/manifest"
	"github.com/sampan-containers/sampan/cli/network"
	"github.com/sampan-containers/sampan/cli/registry"
	"github.com/sampan-containers/sampan/cli/system"
	"github.com/sampan-containers/sampan/cli/volume"
	"github.com/sampan-containers/sampan/version"
)

// Sections of the main help.
const (
	sectionCommon     = "common"
	sectionManagement = "management"
	sectionOther      = "other"
)

// entry is a command at the top: a verb, or a noun with its verbs.
type entry struct {
	name, section string
	make          func(*app.App) *cobra.Command
	nounShort     string
	verbs         func(*app.App) []*cobra.Command
}

func entries() []entry {
	list := []entry{
		{name: "checkpoint", section: sectionManagement, nounShort: "Manage checkpoints", verbs: checkpoint.Commands},
		{name: "container", section: sectionManagement, nounShort: "Manage containers", verbs: container.Commands},
		{name: "context", section: sectionManagement, nounShort: "Manage names for daemons", verbs: contexts.Commands},
		{name: "image", section: sectionManagement, nounShort: "Manage images", verbs: image.Commands},
		{name: "manifest", section: sectionManagement, nounShort: "Manage manifests and indexes in registries", verbs: manifest.Commands},
		{name: "network", section: sectionManagement, nounShort: "Manage networks", verbs: network.Commands},
		{name: "volume", section: sectionManagement, nounShort: "Manage volumes", verbs: volume.Commands},
		{name: "system", section: sectionManagement, nounShort: "Manage the engine", verbs: system.Commands},
	}
	for _, v := range []struct {
		name string
		make func(*app.App) *cobra.Command
	}{
		{"run", container.NewRun}, {"exec", container.NewExec}, {"ps", container.NewPs}, {"pull", image.NewPull}, {"push", image.NewPush},
		{"images", image.NewImages}, {"login", registry.NewLogin}, {"logout", registry.NewLogout}, {"search", registry.NewSearch}, {"version", system.NewVersion}, {"info", system.NewInfo},
	} {
		list = append(list, entry{name: v.name, section: sectionCommon, make: v.make})
	}
	for _, v := range []struct {
		name string
		make func(*app.App) *cobra.Command
	}{
		{"attach", container.NewAttach}, {"commit", container.NewCommit}, {"cp", cp.New}, {"create", container.NewCreate}, {"diff", container.NewDiff}, {"events", system.NewEvents}, {"export", container.NewExport}, {"history", image.NewHistory},
		{"import", image.NewImport}, {"inspect", system.NewInspect}, {"kill", container.NewKill}, {"load", image.NewLoad}, {"logs", logs.New}, {"nsenter", nsenter.New},
		{"pause", container.NewPause}, {"port", container.NewPort}, {"recreate", recreate.New}, {"rename", container.NewRename}, {"restart", container.NewRestart},
		{"rm", container.NewRm}, {"rmi", image.NewRmi}, {"save", image.NewSave}, {"start", container.NewStart}, {"stats", stats.New},
		{"stop", container.NewStop}, {"tag", image.NewTag}, {"top", container.NewTop}, {"unpause", container.NewUnpause},
		{"update", container.NewUpdate}, {"wait", container.NewWait},
	} {
		list = append(list, entry{name: v.name, section: sectionOther, make: v.make})
	}
	return list
}

func (e *entry) build(a *app.App) *cobra.Command {
	var cmd *cobra.Command
	if e.make != nil {
		cmd = e.make(a)
		// Aliases within a noun ("container remove") are not commands of
		// their own at the top ("remove").
		cmd.Aliases = nil
	} else {
		cmd = newGroup(e.name, e.nounShort)
		cmd.AddCommand(e.verbs(a)...)
	}
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[sectionKey] = e.section
	return cmd
}

// NewRoot builds the command tree without I/O. Registering all flags takes
// longer than many commands do, so only the command that args name is built;
// help, completion and mistakes get the whole tree.
func NewRoot(a *app.App, args []string) *cobra.Command {
	// Cobra sorts by default; the help has its own order.
	cobra.EnableCommandSorting = false
	root := rootCommand(a)
	list := entries()
	word := commandWord(root.Flags(), args)
	for i := range list {
		if list[i].name == word {
			root.AddCommand(list[i].build(a))
			root.CompletionOptions.DisableDefaultCmd = true
			addMissing(a, root, word)
			return root
		}
	}
	for i := range list {
		root.AddCommand(list[i].build(a))
	}
	addMissing(a, root, "")
	root.AddCommand(newHelp())
	addCompletion(root)
	return root
}

// commandWord is the first argument that is neither a global flag nor its
// value.
func commandWord(fs *pflag.FlagSet, args []string) string {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' {
			return arg
		}
		var f *pflag.Flag
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case strings.HasPrefix(arg, "--"):
			f = fs.Lookup(name)
		default:
			f, hasValue = fs.ShorthandLookup(arg[1:2]), hasValue || len(arg) > 2
		}
		if f != nil && !hasValue && f.NoOptDefVal == "" {
			i++
		}
	}
	return ""
}

func rootCommand(a *app.App) *cobra.Command {
	showVersion := false
	root := &cobra.Command{
		Use:              a.Name + " [OPTIONS] COMMAND [ARG...]",
		Short:            "Build, ship and run containers",
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true,
		Args:             cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case showVersion:
				a.Println(fmt.Sprintf("Sampan version %s, build %s", version.Version, version.Commit))
				return nil
			case len(args) == 0:
				return cmd.Help()
			}
			if path := findPlugin(a, args[0]); path != "" {
				return runPlugin(cmd.Context(), a, path)
			}
			return unknownCommand(cmd, args[0])
		},
	}
	globalFlags(a, root)
	root.Flags().BoolVarP(&showVersion, "version", "v", false, "Print the version and end")
	root.SetOut(a.Out.Text())
	root.SetErr(a.Err.Text())
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { printHelp(a.Out.Text(), a, cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error { printHelp(a.Err.Text(), a, cmd); return nil })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	return root
}

// newHelp makes `help`. Cobra's own ends well for a topic that does not exist.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if of, _, err := cmd.Root().Find(args); err == nil {
				for _, sub := range of.Commands() {
					if !sub.Hidden && sub != cmd {
						names = append(names, sub.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(of, rest[0])
			}
			return of.Help()
		},
	}
}

// newGroup makes a noun. It can only be helped with.
func newGroup(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:   name + " COMMAND",
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
}

func globalFlags(a *app.App, root *cobra.Command) {
	g := &a.Global
	fs := root.Flags()
	// What follows the command belongs to the command.
	fs.SetInterspersed(false)
	fs.StringVar(&g.ConfigDir, "config", "", "Directory of the configuration file")
	fs.StringVarP(&g.Context, "context", "c", "", "Context to use, instead of DOCKER_CONTEXT and the one of \"context use\"")
	fs.BoolVarP(&g.Debug, "debug", "D", false, "Show each request to the daemon")
	fs.StringVarP(&g.Host, "host", "H", "", "Daemon to connect to (unix:///PATH, tcp://HOST:PORT)")
	fs.StringVarP(&g.LogLevel, "log-level", "l", "info", `Level of the client's messages ("debug", "info", "warn", "error", "fatal")`)
	fs.BoolVar(&g.TLS.Enable, "tls", false, "Use TLS; implied by --tlsverify")
	fs.StringVar(&g.TLS.CA, "tlscacert", "", "Trust only servers with a certificate of this authority")
	fs.StringVar(&g.TLS.Cert, "tlscert", "", "TLS certificate of the client")
	fs.StringVar(&g.TLS.Key, "tlskey", "", "TLS key of the client")
	fs.BoolVar(&g.TLS.Verify, "tlsverify", false, "Use TLS and verify the server")
	g.Given = fs.Changed
	root.PersistentFlags().BoolP("help", "h", false, "Print usage")
	// Registered just above, so the call cannot fail.
	_ = root.PersistentFlags().MarkHidden("help")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		switch g.LogLevel {
		case "debug", "info", "warn", "warning", "error", "fatal":
			return nil
		}
		return &app.UsageError{Err: fmt.Errorf("invalid --log-level %q: use debug, info, warn, error or fatal", g.LogLevel), Code: app.ExitFailure}
	}
}

func flagError(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		if like := similarFlag(cmd, name); like != "" {
			err = fmt.Errorf("%w\nDid you mean '--%s'?", err, like)
		}
	}
	return &app.UsageError{Err: err, Help: cmd.CommandPath(), Code: app.ExitEngine}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("%s: '%s' is not a %s command.", cmd.CommandPath(), name, cmd.Root().Name())
	if like := similarCommand(cmd, name); like != "" {
		text += fmt.Sprintf("\nDid you mean '%s'?", like)
	}
	return &app.UsageError{Err: fmt.Errorf("%s", text), Help: cmd.CommandPath(), Code: app.ExitFailure}
}
