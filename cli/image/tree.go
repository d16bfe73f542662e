package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/api/types/image"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// tree prints each image with its names, and below it the platforms that are here.
func tree(ctx context.Context, a *app.App, o *lsOptions, req client.ImageListOptions) error {
	if o.quiet || o.format != "" || o.digests {
		return fmt.Errorf("--tree cannot be combined with --quiet, --format or --digests")
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	req.Manifests = true
	got, err := conn.ImageList(ctx, req)
	if err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&got.Items)
	}
	slices.SortStableFunc(got.Items, func(x, y image.Summary) int { return cmp.Compare(y.Created, x.Created) })
	w := tabwriter.NewWriter(a.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tID\tDISK USAGE\tCONTENT SIZE\tIN USE")
	for i := range got.Items {
		branch(w, &got.Items[i], o.noTrunc)
	}
	return w.Flush()
}

func branch(w *tabwriter.Writer, img *image.Summary, full bool) {
	names := slices.DeleteFunc(slices.Clone(img.RepoTags), func(name string) bool { return name == "<none>:<none>" })
	if len(names) == 0 {
		names = []string{none}
	}
	var total, content int64
	used := 0
	for _, m := range img.Manifests {
		total += m.Size.Total
		content += m.Size.Content
		if m.ImageData != nil {
			used += len(m.ImageData.Containers)
		}
	}
	if total == 0 { // the daemon does not tell of manifests
		total = img.Size
	}
	for _, name := range names[:len(names)-1] {
		fmt.Fprintf(w, "%s\t\t\t\t\n", name)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", names[len(names)-1], format.ID(img.ID, full), format.Size(total), format.Size(content), containers(used))
	for i, m := range img.Manifests {
		if m.Kind != image.ManifestKindImage || m.ImageData == nil {
			continue
		}
		stem := "├─ "
		if i == len(img.Manifests)-1 {
			stem = "└─ "
		}
		p := m.ImageData.Platform
		platform := strings.TrimSuffix(strings.Join([]string{p.OS, p.Architecture, p.Variant}, "/"), "/")
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s\n", stem, platform, format.ID(m.ID, full), format.Size(m.Size.Total), format.Size(m.Size.Content), containers(len(m.ImageData.Containers)))
	}
}

func containers(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 container"
	}
	return fmt.Sprintf("%d containers", n)
}
