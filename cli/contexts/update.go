package contexts

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

func newUpdate(a *app.App) *cobra.Command {
	var description string
	var docker map[string]string
	cmd := named(&cobra.Command{
		Use:               "update [OPTIONS] CONTEXT",
		Short:             "Change a context",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: names(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Contexts().Get(args[0])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("description") {
				c.Describe(description)
			}
			if docker != nil {
				e, err := parseEndpoint(a, docker)
				if err != nil {
					return err
				}
				err = e.store(a, c)
				if err != nil {
					return err
				}
			} else if err := a.Contexts().Put(c); err != nil {
				return err
			}
			done(a, c.Name, "Successfully updated context %q")
			return nil
		},
	}, "context update")
	fs := cmd.Flags()
	fs.StringVar(&description, "description", "", "Description of the context")
	fs.StringToStringVar(&docker, "docker", nil, endpointHelp)
	return cmd
}
