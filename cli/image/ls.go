package image

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

const none = "<none>"

type lsOptions struct {
	all, digests, noTrunc, quiet, tree bool
	format                             string
	filters                            value.Filters
}

// NewLs makes `image ls`.
func NewLs(a *app.App) *cobra.Command {
	cmd := newLs(a, "ls [OPTIONS] [REPOSITORY[:TAG]]")
	cmd.Aliases = []string{"list"}
	return cmd
}

// NewImages makes `images`.
func NewImages(a *app.App) *cobra.Command { return newLs(a, "images [OPTIONS] [REPOSITORY[:TAG]]") }

func newLs(a *app.App, use string) *cobra.Command {
	var o lsOptions
	cmd := named(&cobra.Command{
		Use:               use,
		Short:             "List images",
		Args:              app.RangeArgs(0, 1),
		ValidArgsFunction: complete.FirstImage(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return list(cmd.Context(), a, &o, args)
		},
	}, "image ls, image list, images")
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Show intermediate images too")
	fs.BoolVar(&o.digests, "digests", false, "Show digests")
	fs.VarP(&o.filters, "filter", "f", "Show only what matches (NAME=VALUE)")
	fs.StringVar(&o.format, "format", "", app.FormatHelp)
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not cut long values")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Show only ids")
	fs.BoolVar(&o.tree, "tree", false, "Show the platforms of each image as a tree")
	return cmd
}

func list(ctx context.Context, a *app.App, o *lsOptions, args []string) error {
	req := client.ImageListOptions{All: o.all, Filters: o.filters.Values}
	if len(args) > 0 {
		if req.Filters == nil {
			req.Filters = client.Filters{}
		}
		req.Filters.Add("reference", args[0])
	}
	if o.tree {
		return tree(ctx, a, o, req)
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	got, err := conn.ImageList(ctx, req)
	if err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&got.Items)
	}
	if o.format == "" && !o.quiet {
		o.format = a.Config().ImagesFormat
	}
	l := listFormat
	if o.digests {
		l.Table = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	}
	digests := o.digests || strings.Contains(o.format, ".Digest")
	slices.SortStableFunc(got.Items, func(x, y image.Summary) int { return int(min(max(y.Created-x.Created, -1), 1)) })
	var rows []format.Row
	for i := range got.Items {
		rows = append(rows, rowsOf(&got.Items[i], o.noTrunc, digests)...)
	}
	return l.Write(a.Out, o.format, o.quiet, rows)
}

// rowsOf gives an image one row per tag; with digests, one per tag and digest.
func rowsOf(img *image.Summary, full, digests bool) []format.Row {
	type name struct{ repo, tag, digest string }
	var names []name
	byRepo := map[string][]string{}
	for _, ref := range img.RepoDigests {
		if repo, digest, ok := strings.Cut(ref, "@"); ok && repo != none {
			byRepo[repo] = append(byRepo[repo], digest)
		}
	}
	tagged := map[string]bool{}
	for _, ref := range img.RepoTags {
		i := strings.LastIndex(ref, ":")
		if i < 0 || ref == "<none>:<none>" {
			continue
		}
		repo, tag := ref[:i], ref[i+1:]
		tagged[repo] = true
		found := byRepo[repo]
		if len(found) == 0 || !digests {
			names = append(names, name{repo, tag, first(found)})
			continue
		}
		for _, d := range found {
			names = append(names, name{repo, tag, d})
		}
	}
	for _, ref := range img.RepoDigests {
		if repo, digest, ok := strings.Cut(ref, "@"); ok && repo != none && !tagged[repo] {
			names = append(names, name{repo, none, digest})
			if !digests {
				tagged[repo] = true
			}
		}
	}
	if len(names) == 0 {
		names = append(names, name{none, none, none})
	}
	var rows []format.Row
	for _, n := range names {
		rows = append(rows, &row{img: img, repo: n.repo, tag: n.tag, digest: n.digest, full: full})
	}
	return rows
}

func first(s []string) string {
	if len(s) == 0 {
		return none
	}
	return s[0]
}

var listFormat = format.List{
	Table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
	Quiet: "{{.ID}}",
	Headers: map[string]string{
		"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
		"CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS", "VirtualSize": "SIZE",
		"SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
	},
}

// row is one line of `images`; its methods are the fields of --format.
type row struct {
	img               *image.Summary
	repo, tag, digest string
	full              bool
}

func (*row) Row() {}

// ID is the image's id.
func (r *row) ID() string { return format.ID(r.img.ID, r.full) }

// Repository is the name without the tag.
func (r *row) Repository() string { return r.repo }

// Tag is the tag.
func (r *row) Tag() string { return r.tag }

// Digest is the digest of the manifest under this name.
func (r *row) Digest() string { return r.digest }

// CreatedSince is the time since creation.
func (r *row) CreatedSince() string { return format.Since(r.img.Created) }

// CreatedAt is the time of creation.
func (r *row) CreatedAt() string { return time.Unix(r.img.Created, 0).String() }

// Size is the size of all layers.
func (r *row) Size() string { return format.Size(r.img.Size) }

// VirtualSize is the same as Size, for old formats.
func (r *row) VirtualSize() string { return format.Size(r.img.Size) }

// Containers counts the containers of the image, if the daemon did.
func (r *row) Containers() string { return counted(r.img.Containers) }

// SharedSize is the size of layers that other images use too.
func (r *row) SharedSize() string { return sized(r.img.SharedSize) }

// UniqueSize is the rest.
func (r *row) UniqueSize() string {
	if r.img.SharedSize < 0 {
		return "N/A"
	}
	return format.Size(r.img.Size - r.img.SharedSize)
}
