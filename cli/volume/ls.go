package volume

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewLs makes `volume ls`.
func NewLs(a *app.App) *cobra.Command {
	var quiet, cluster bool
	var text string
	var filters value.Filters
	cmd := named(&cobra.Command{
		Use:               "ls [OPTIONS]",
		Aliases:           []string{"list"},
		Short:             "List volumes",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cluster {
				return app.Refuse("cluster", "cluster volumes need a swarm")
			}
			if text == "" && !quiet {
				text = a.Config().VolumesFormat
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.VolumeList(cmd.Context(), client.VolumeListOptions{Filters: filters.Values})
			if err != nil {
				return err
			}
			if a.Out.IsTerminal() {
				terminal.CleanDeep(&got.Items)
			}
			slices.SortFunc(got.Items, func(x, y volume.Volume) int { return strings.Compare(x.Name, y.Name) })
			rows := make([]format.Row, len(got.Items))
			for i := range got.Items {
				rows[i] = &row{&got.Items[i]}
			}
			return listFormat.Write(a.Out, text, quiet, rows)
		},
	}, "volume ls, volume list")
	fs := cmd.Flags()
	fs.BoolVar(&cluster, "cluster", false, "Show cluster volumes only")
	// Registered just above, so the call cannot fail.
	_ = fs.MarkHidden("cluster")
	fs.VarP(&filters, "filter", "f", "Show only what matches (NAME=VALUE)")
	fs.StringVar(&text, "format", "", app.FormatHelp)
	fs.BoolVarP(&quiet, "quiet", "q", false, "Show only names")
	return cmd
}

var listFormat = format.List{
	Table: "{{.Driver}}\t{{.Name}}",
	Quiet: "{{.Name}}",
	Headers: map[string]string{
		"Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
		"Links": "LINKS", "Size": "SIZE", "Group": "GROUP", "Availability": "AVAILABILITY", "Status": "STATUS",
	},
}

// row is one line of `volume ls`; its methods are the fields of --format.
type row struct{ v *volume.Volume }

func (*row) Row() {}

// Name is the volume's name.
func (r *row) Name() string { return r.v.Name }

// Driver is the volume's driver.
func (r *row) Driver() string { return r.v.Driver }

// Scope is local.
func (r *row) Scope() string { return r.v.Scope }

// Mountpoint is where the data is on the host.
func (r *row) Mountpoint() string { return r.v.Mountpoint }

// Labels are all labels.
func (r *row) Labels() string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(r.v.Labels)) {
		out = append(out, key+"="+r.v.Labels[key])
	}
	return strings.Join(out, ",")
}

// Label is the value of one label.
func (r *row) Label(key string) string { return r.v.Labels[key] }

// Links is unknown in a list.
func (r *row) Links() string { return "N/A" }

// Size is unknown in a list.
func (r *row) Size() string { return "N/A" }

// Group is of cluster volumes.
func (r *row) Group() string { return "N/A" }

// Availability is of cluster volumes.
func (r *row) Availability() string { return "N/A" }

// Status is of cluster volumes.
func (r *row) Status() string { return "N/A" }
