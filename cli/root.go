package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/container"
	"github.com/sampan-containers/sampan/cli/image"
	"github.com/sampan-containers/sampan/cli/network"
	"github.com/sampan-containers/sampan/cli/system"
	"github.com/sampan-containers/sampan/version"
)

// Sections of the main help.
const (
	sectionCommon     = "common"
	sectionManagement = "management"
	sectionOther      = "other"
)

// NewRoot builds the whole tree. Building does no I/O and takes well under a
// millisecond, so nothing is put off until it is needed.
func NewRoot(a *app.App) *cobra.Command {
	// Cobra sorts by default; the help has its own order.
	cobra.EnableCommandSorting = false
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

	add(root, sectionCommon,
		container.NewRun(a), container.NewExec(a), container.NewPs(a), image.NewPull(a), image.NewImages(a),
		system.NewVersion(a), system.NewInfo(a))
	groups := map[string]*cobra.Command{}
	for _, g := range []struct {
		name, short string
		verbs       []*cobra.Command
	}{
		{"container", "Manage containers", container.Commands(a)},
		{"image", "Manage images", image.Commands(a)},
		{"network", "Manage networks", network.Commands(a)},
		{"system", "Manage the engine", system.Commands(a)},
	} {
		groups[g.name] = newGroup(g.name, g.short)
		groups[g.name].AddCommand(g.verbs...)
		add(root, sectionManagement, groups[g.name])
	}
	add(root, sectionOther,
		container.NewAttach(a), container.NewCreate(a), system.NewEvents(a), image.NewHistory(a), image.NewImport(a),
		system.NewInspect(a), container.NewKill(a), container.NewLogs(a), container.NewPort(a), container.NewRestart(a),
		container.NewRm(a), image.NewRmi(a), container.NewStart(a), container.NewStop(a), image.NewTag(a), container.NewWait(a))
	addMissing(root, groups)
	topLevel(root)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// topLevel: aliases within a noun ("container remove") are not commands of
// their own at the top ("remove").
func topLevel(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if !cmd.HasSubCommands() {
			cmd.Aliases = nil
		}
	}
}

func add(root *cobra.Command, section string, cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		if cmd.Annotations == nil {
			cmd.Annotations = map[string]string{}
		}
		cmd.Annotations[sectionKey] = section
		root.AddCommand(cmd)
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
	fs.StringVarP(&g.Context, "context", "c", "", "Context to use (only \"default\" yet)")
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
