package manifest

import (
	"context"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/credential"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
)

type referrersOptions struct {
	artifactType, format string
	insecure, quiet      bool
}

func newReferrers(a *app.App) *cobra.Command {
	var o referrersOptions
	cmd := &cobra.Command{
		Use:               "referrers [OPTIONS] MANIFEST",
		Short:             "List what refers to an image of a registry: signatures, attestations",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.None,
		RunE:              func(cmd *cobra.Command, args []string) error { return referrers(cmd.Context(), a, &o, args[0]) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.artifactType, "artifact-type", "", "Only those of this type")
	fs.StringVar(&o.format, "format", "", app.FormatHelp)
	fs.BoolVar(&o.insecure, "insecure", false, "Allow a registry without verified TLS")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Show only digests")
	return cmd
}

// referrersRequest is the body of the daemon's route.
type referrersRequest struct {
	Login        *credential.Login `json:"login,omitempty"`
	Insecure     bool              `json:"insecure,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

func referrers(ctx context.Context, a *app.App, o *referrersOptions, name string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	r := referrersRequest{Insecure: o.insecure, ArtifactType: o.artifactType}
	if r.Login, err = credential.Get(ctx, a, client.ParseReference(name).Domain); err != nil {
		return err
	}
	var got struct {
		Referrers []ocispec.Descriptor `json:"referrers"`
	}
	if err := conn.Call(ctx, "POST", "/distribution/"+full(name)+"/referrers", url.Values{}, r, &got); err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&got.Referrers)
	}
	var rows []format.Row
	for i := range got.Referrers {
		rows = append(rows, &referrer{&got.Referrers[i]})
	}
	return referrersFormat.Write(a.Out, o.format, o.quiet, rows)
}

var referrersFormat = format.List{
	Table: "{{.Digest}}\t{{.ArtifactType}}\t{{.Size}}\t{{.Annotations}}",
	Quiet: "{{.Digest}}",
	Headers: map[string]string{
		"Digest": "DIGEST", "ArtifactType": "ARTIFACT TYPE", "MediaType": "MEDIA TYPE", "Size": "SIZE", "Annotations": "ANNOTATIONS",
	},
}

// referrer is one line; its methods are the fields of --format.
type referrer struct{ d *ocispec.Descriptor }

func (*referrer) Row()                   {}
func (r *referrer) Digest() string       { return r.d.Digest.String() }
func (r *referrer) ArtifactType() string { return r.d.ArtifactType }
func (r *referrer) MediaType() string    { return r.d.MediaType }
func (r *referrer) Size() int64          { return r.d.Size }

// Annotations are in the order of their keys.
func (r *referrer) Annotations() string {
	var list []string
	for k, v := range r.d.Annotations {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}
