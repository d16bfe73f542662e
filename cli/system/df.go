package system

import (
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// NewDf makes `system df`.
func NewDf(a *app.App) *cobra.Command {
	var verbose bool
	var text string
	cmd := named(&cobra.Command{
		Use:               "df [OPTIONS]",
		Short:             "Show what images, containers and volumes take on disk",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if verbose && text != "" {
				return fmt.Errorf("the verbose option and a format other than the default cannot be used together")
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.DiskUsage(cmd.Context(), client.DiskUsageOptions{Containers: true, Images: true, Volumes: true, BuildCache: true, Verbose: verbose})
			if err != nil {
				return err
			}
			if a.Out.IsTerminal() {
				terminal.CleanDeep(&got)
			}
			if verbose {
				return detailed(a, &got)
			}
			rows := []format.Row{
				&usage{"Images", got.Images.TotalCount, got.Images.ActiveCount, got.Images.TotalSize, got.Images.Reclaimable},
				&usage{"Containers", got.Containers.TotalCount, got.Containers.ActiveCount, got.Containers.TotalSize, got.Containers.Reclaimable},
				&usage{"Local Volumes", got.Volumes.TotalCount, got.Volumes.ActiveCount, got.Volumes.TotalSize, got.Volumes.Reclaimable},
				&usage{"Build Cache", got.BuildCache.TotalCount, got.BuildCache.ActiveCount, got.BuildCache.TotalSize, got.BuildCache.Reclaimable},
			}
			return usageFormat.Write(a.Out, text, false, rows)
		},
	}, "system df")
	fs := cmd.Flags()
	fs.StringVar(&text, "format", "", app.FormatHelp)
	fs.BoolVarP(&verbose, "verbose", "v", false, "Show every image, container and volume")
	return cmd
}

var usageFormat = format.List{
	Table:   "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
	Headers: map[string]string{"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"},
}

// usage is one line of `system df`.
type usage struct {
	kind                             string
	total, active, size, reclaimable int64
}

func (*usage) Row() {}

// Type is the kind of object.
func (u *usage) Type() string { return u.kind }

// TotalCount is how many there are.
func (u *usage) TotalCount() string { return fmt.Sprint(u.total) }

// Active is how many are used.
func (u *usage) Active() string { return fmt.Sprint(u.active) }

// Size is what all take.
func (u *usage) Size() string { return units.HumanSize(float64(u.size)) }

// Reclaimable is what a prune gives back.
func (u *usage) Reclaimable() string {
	text := units.HumanSize(float64(u.reclaimable))
	if u.size > 0 {
		text += fmt.Sprintf(" (%d%%)", u.reclaimable*100/u.size)
	}
	return text
}

// cells is a line of a detailed table.
type cells []string

func (*cells) Row() {}

// Line is the whole line.
func (c *cells) Line() string { return strings.Join(*c, "\t") }

func table(a *app.App, title string, head []string, rows [][]string) error {
	a.Println(title + "\n")
	list := format.List{Table: "{{.Line}}", Headers: map[string]string{"Line": strings.Join(head, "\t")}}
	out := make([]format.Row, len(rows))
	for i := range rows {
		c := cells(rows[i])
		out[i] = &c
	}
	if err := list.Write(a.Out, "", false, out); err != nil {
		return err
	}
	a.Println("")
	return nil
}

func detailed(a *app.App, got *client.DiskUsageResult) error {
	var rows [][]string
	for _, img := range got.Images.Items {
		names := img.RepoTags
		if len(names) == 0 {
			names = []string{"<none>:<none>"}
		}
		for _, name := range names {
			i := strings.LastIndex(name, ":")
			rows = append(rows, []string{name[:max(i, 0)], name[i+1:], format.ID(img.ID, false), format.Since(img.Created), format.Size(img.Size),
				format.Size(max(img.SharedSize, 0)), format.Size(img.Size - max(img.SharedSize, 0)), fmt.Sprint(max(img.Containers, 0))})
		}
	}
	if err := table(a, "Images space usage:", []string{"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, c := range got.Containers.Items {
		volumes := 0
		for _, m := range c.Mounts {
			if m.Type == "volume" {
				volumes++
			}
		}
		rows = append(rows, []string{format.ID(c.ID, false), c.Image, `"` + format.Ellipsis(c.Command, 19) + `"`, fmt.Sprint(volumes),
			format.Size(c.SizeRw), format.Since(c.Created), c.Status, strings.TrimPrefix(strings.Join(c.Names, ","), "/")})
	}
	if err := table(a, "Containers space usage:", []string{"CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, v := range got.Volumes.Items {
		links, size := "N/A", "N/A"
		if v.UsageData != nil {
			links = fmt.Sprint(v.UsageData.RefCount)
			if v.UsageData.Size >= 0 {
				size = format.Size(v.UsageData.Size)
			}
		}
		rows = append(rows, []string{v.Name, links, size})
	}
	if err := table(a, "Local Volumes space usage:", []string{"VOLUME NAME", "LINKS", "SIZE"}, rows); err != nil {
		return err
	}
	a.Println("Build cache usage: " + units.HumanSize(float64(got.BuildCache.TotalSize)) + "\n")
	return table(a, "", []string{"CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"}, nil)
}
