// Package complete answers the shell's question what may come next: names of
// containers, images and networks, asked from the daemon with a short
// time-out. A daemon that does not answer means no suggestions, never an error
// in the middle of the user's line.
package complete

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// patience is how long a user waits for the tab key.
const patience = 800 * time.Millisecond

// Func is cobra's signature of a completion.
type Func = cobra.CompletionFunc

// Which containers are suggested.
type Which func(container.ContainerState) bool

// All suggests every container.
func All(container.ContainerState) bool { return true }

// Running suggests those that run.
func Running(s container.ContainerState) bool { return s == container.StateRunning }

// Paused suggests those that stand still.
func Paused(s container.ContainerState) bool { return s == container.StatePaused }

// Stopped suggests those that can be started.
func Stopped(s container.ContainerState) bool {
	return s == container.StateExited || s == container.StateCreated
}

// None suggests nothing, not even files.
func None(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// Words suggests fixed words.
func Words(words ...string) Func {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// Containers suggests names, leaving out those already on the line.
func Containers(a *app.App, which Which) Func {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return ask(a, args, func(ctx context.Context, c *connect.Conn) []string {
			list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
			if err != nil {
				return nil
			}
			var names []string
			for _, item := range list.Items {
				if which(item.State) {
					for _, name := range item.Names {
						names = append(names, strings.TrimPrefix(name, "/"))
					}
				}
			}
			return names
		})
	}
}

// FirstContainer suggests names for the first argument; what follows is a
// command inside the container, about which the host knows nothing.
func FirstContainer(a *app.App, which Which) Func {
	return first(Containers(a, which), cobra.ShellCompDirectiveNoFileComp)
}

// Images suggests names of images.
func Images(a *app.App) Func {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return ask(a, args, func(ctx context.Context, c *connect.Conn) []string {
			list, err := c.ImageList(ctx, client.ImageListOptions{})
			if err != nil {
				return nil
			}
			var names []string
			for _, item := range list.Items {
				for _, tag := range item.RepoTags {
					if tag != "<none>:<none>" {
						names = append(names, tag)
					}
				}
			}
			return names
		})
	}
}

// FirstImage suggests images for the first argument.
func FirstImage(a *app.App) Func { return first(Images(a), cobra.ShellCompDirectiveDefault) }

// Networks suggests names of networks.
func Networks(a *app.App) Func {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return ask(a, args, func(ctx context.Context, c *connect.Conn) []string {
			list, err := c.NetworkList(ctx, client.NetworkListOptions{})
			if err != nil {
				return nil
			}
			var names []string
			for _, item := range list.Items {
				names = append(names, item.Name)
			}
			return names
		})
	}
}

// CreateFlags adds suggestions for the flags of `run` and `create`.
func CreateFlags(a *app.App, cmd *cobra.Command) {
	for name, f := range map[string]Func{
		"network":      Networks(a),
		"pull":         Words("always", "missing", "never"),
		"restart":      Words("no", "always", "unless-stopped", "on-failure"),
		"volumes-from": Containers(a, All),
		"log-driver":   Words("json-file", "none"),
		"ipc":          Words("none", "private", "shareable", "host"),
		"pid":          Words("host"),
		"cgroupns":     Words("host", "private"),
		"attach":       Words("stdin", "stdout", "stderr"),
		"stop-signal":  Words("SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2"),
	} {
		if err := cmd.RegisterFlagCompletionFunc(name, f); err != nil {
			// Only a flag that does not exist, or is registered twice.
			panic(err)
		}
	}
}

func first(f Func, rest cobra.ShellCompDirective) Func {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, rest
		}
		return f(cmd, args, word)
	}
}

// ask runs a question with a time-out. Names with control bytes would be typed
// into the user's shell; they are not suggested.
func ask(a *app.App, used []string, question func(context.Context, *connect.Conn) []string) ([]string, cobra.ShellCompDirective) {
	conn, err := a.Connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	names := slices.DeleteFunc(question(ctx, conn), func(name string) bool {
		return slices.Contains(used, name) || terminal.Clean(name) != name
	})
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}
