package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

// missing lists the commands of Docker that Sampan does not have yet: full
// name, then other full names. They are known, so that they are refused by a
// sentence and not taken for a typing error, and hidden from the help.
var missing = []string{
	"bake", "buildx bake",
	"builder build, image build, build", "builder prune",
	"config create", "config inspect", "config ls, config list", "config rm, config remove",
	"node demote", "node inspect", "node ls, node list", "node promote", "node ps", "node rm, node remove", "node update",
	"plugin create", "plugin disable", "plugin enable", "plugin inspect", "plugin install", "plugin ls, plugin list",
	"plugin push", "plugin rm, plugin remove", "plugin set", "plugin upgrade",
	"secret create", "secret inspect", "secret ls, secret list", "secret rm, secret remove",
	"service create", "service inspect", "service logs", "service ls, service list", "service ps",
	"service rm, service remove", "service rollback", "service scale", "service update",
	"stack config", "stack deploy, stack up", "stack ls, stack list", "stack ps", "stack rm, stack remove, stack down", "stack services",
	"swarm ca", "swarm init", "swarm join", "swarm join-token", "swarm leave", "swarm unlock", "swarm unlock-key", "swarm update",
}

// addMissing adds them to the tree, with their nouns where those are missing
// as a whole; only those of one noun if it is given.
func addMissing(a *app.App, root *cobra.Command, only string) {
	nouns := map[string]*cobra.Command{}
	for _, cmd := range root.Commands() {
		nouns[cmd.Name()] = cmd
	}
	for _, entry := range missing {
		for _, full := range strings.Split(entry, ", ") {
			noun, verb, nested := strings.Cut(full, " ")
			switch {
			case only != "" && (noun != only || !nested):
			case !nested:
				root.AddCommand(refused(a, noun))
			default:
				if nouns[noun] == nil {
					nouns[noun] = refused(a, noun)
					root.AddCommand(nouns[noun])
				}
				nouns[noun].AddCommand(refused(a, verb))
			}
		}
	}
}

// refused is a command that only says that it does not exist yet. Its flags
// are not looked at: they would be refused for the wrong reason.
func refused(a *app.App, name string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Hidden:             true,
		DisableFlagParsing: true,
		Args:               cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// buildx is a plugin with Docker too.
			if path := findPlugin(a, strings.Fields(cmd.CommandPath())[1]); path != "" {
				return runPlugin(cmd.Context(), a, path)
			}
			return &app.StatusError{Code: app.ExitFailure, Err: fmt.Errorf("%s: this command is %w by Sampan", cmd.CommandPath(), app.ErrUnsupported)}
		},
	}
}
