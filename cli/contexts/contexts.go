// Package contexts holds the verbs on contexts. None of them asks a daemon.
package contexts

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

// Commands are the verbs of `context`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{
		newCreate(a), newExport(a), newImport(a), newInspect(a), newLs(a), newRm(a), newShow(a), newUpdate(a), newUse(a),
	}
}

func named(cmd *cobra.Command, names string) *cobra.Command {
	cmd.Annotations = map[string]string{app.AliasesKey: names}
	return cmd
}

// names suggests contexts, leaving out those already on the line.
func names(a *app.App) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		list, _ := a.Contexts().List() // a broken one is not suggested
		out := []string{contextstore.Default}
		for _, c := range list {
			out = append(out, c.Name)
		}
		return slices.DeleteFunc(out, func(name string) bool { return slices.Contains(args, name) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// get returns a context, the default one too, which is made of the environment.
func get(a *app.App, name string) (*contextstore.Context, error) {
	if name != contextstore.Default {
		return a.Contexts().Get(name)
	}
	c := &contextstore.Context{Name: name, Metadata: map[string]any{}}
	host, err := connect.DefaultHost(a.Global.Host)
	c.SetDocker(contextstore.Endpoint{Host: host})
	return c, err
}

// fresh checks a name for a new context.
func fresh(a *app.App, name string) error {
	if err := contextstore.CheckName(name); err != nil {
		return err
	}
	if _, err := a.Contexts().Get(name); err == nil {
		return fmt.Errorf("context %q already exists", name)
	}
	return nil
}

// done prints the name for scripts and the sentence for people.
func done(a *app.App, name, format string) {
	a.Println(name)
	fmt.Fprintf(a.Err.Text(), format+"\n", name)
}

// setCurrent writes the choice of `use` into the configuration file.
func setCurrent(a *app.App, name string) error {
	_, err := a.EditConfig(func(values map[string]json.RawMessage) error {
		if name == contextstore.Default {
			delete(values, "currentContext")
			return nil
		}
		raw, err := json.Marshal(name)
		values["currentContext"] = raw
		return err
	})
	return err
}
