package contexts

import (
	"cmp"
	"errors"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

func newCreate(a *app.App) *cobra.Command {
	var description, from string
	var docker map[string]string
	cmd := named(&cobra.Command{
		Use:               "create [OPTIONS] CONTEXT",
		Short:             "Create a context",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fresh(a, args[0]); err != nil {
				return err
			}
			if from != "" && docker != nil {
				return errors.New("cannot use --docker flag when --from is set")
			}
			c := &contextstore.Context{Name: args[0]}
			var e *endpoint
			var err error
			if docker != nil {
				e, err = parseEndpoint(a, docker)
			} else {
				var source *contextstore.Context
				if source, err = get(a, cmp.Or(from, a.ContextName())); err == nil {
					c.Metadata = source.Metadata
					e, err = copyEndpoint(a, source.Name)
				}
			}
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("description") || c.Metadata == nil {
				c.Describe(description)
			}
			if err := e.store(a, c); err != nil {
				return err
			}
			done(a, c.Name, "Successfully created context %q")
			return nil
		},
	}, "context create")
	fs := cmd.Flags()
	fs.StringVar(&description, "description", "", "Description of the context")
	fs.StringToStringVar(&docker, "docker", nil, endpointHelp)
	fs.StringVar(&from, "from", "", "Take all from this context (default: the one in use)")
	return cmd
}
