package contexts

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

// whole is what inspect shows of a context.
type whole struct {
	*contextstore.Context
	TLSMaterial map[string][]string
	Storage     storage
}

type storage struct{ MetadataPath, TLSPath string }

// inMemory is the place of the default context.
const inMemory = "<IN MEMORY>"

func newInspect(a *app.App) *cobra.Command {
	var format string
	cmd := named(&cobra.Command{
		Use:               "inspect [OPTIONS] [CONTEXT] [CONTEXT...]",
		Short:             "Show everything about one or more contexts",
		Args:              app.MinArgs(0),
		ValidArgsFunction: names(a),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{a.ContextName()}
			}
			return a.Inspect(format, args, func(name string) (any, []byte, error) {
				c, err := get(a, name)
				if err != nil {
					return nil, nil, err
				}
				w := &whole{Context: c, TLSMaterial: map[string][]string{}, Storage: storage{inMemory, inMemory}}
				if name != contextstore.Default {
					w.Storage = storage{a.Contexts().MetaDir(name), a.Contexts().TLSDir(name)}
					if files := a.Contexts().TLS(name); len(files) > 0 {
						w.TLSMaterial["docker"] = slices.Sorted(maps.Keys(files))
					}
				}
				raw, err := json.Marshal(w)
				return w, raw, err
			})
		},
	}, "context inspect")
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	return cmd
}
