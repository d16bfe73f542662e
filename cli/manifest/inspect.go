package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

type inspectOptions struct{ verbose, insecure bool }

func newInspect(a *app.App) *cobra.Command {
	var o inspectOptions
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] [MANIFEST_LIST] MANIFEST",
		Short:             "Show a manifest or index, of a registry or under construction",
		Args:              app.RangeArgs(1, 2),
		ValidArgsFunction: complete.None,
		RunE:              func(cmd *cobra.Command, args []string) error { return inspect(cmd.Context(), a, &o, args) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "Show the manifests of an index, too, with their names and digests")
	fs.BoolVar(&o.insecure, "insecure", false, "Allow a registry without verified TLS")
	return cmd
}

func inspect(ctx context.Context, a *app.App, o *inspectOptions, args []string) error {
	name := args[len(args)-1]
	if len(args) == 2 {
		x, err := load(a, args[0])
		if err != nil {
			return err
		}
		i := x.find(name)
		if i < 0 {
			return fmt.Errorf("manifest for image %s does not exist in manifest list %s", name, args[0])
		}
		return show(a, x.Entries[i])
	}
	if x, err := load(a, name); err == nil {
		list := ocispec.Index{}
		list.SchemaVersion = 2
		for _, e := range x.Entries {
			list.Manifests = append(list.Manifests, e.Descriptor)
		}
		return show(a, list)
	}
	got, err := ask(ctx, a, name, o.insecure, nil)
	if err != nil {
		return err
	}
	if !o.verbose {
		var text bytes.Buffer
		if err := json.Indent(&text, got.Raw, "", "\t"); err != nil {
			return fmt.Errorf("the manifest is not valid: %w", err)
		}
		a.Println(text.String())
		return nil
	}
	if got.Descriptor.Platform != nil {
		return show(a, verbose(got))
	}
	var list ocispec.Index
	if err := json.Unmarshal(got.Raw, &list); err != nil {
		return fmt.Errorf("the index is not valid: %w", err)
	}
	all := []verboseManifest{}
	for _, d := range list.Manifests {
		one, err := ask(ctx, a, client.ParseReference(name).Name()+"@"+d.Digest.String(), o.insecure, nil)
		if err != nil {
			return err
		}
		one.Descriptor.Platform = d.Platform
		all = append(all, verbose(one))
	}
	return show(a, all)
}

// verboseManifest is the form of `docker manifest inspect -v`.
type verboseManifest struct {
	Ref              string
	Descriptor       ocispec.Descriptor
	SchemaV2Manifest json.RawMessage `json:",omitempty"`
	OCIManifest      json.RawMessage `json:",omitempty"`
}

func verbose(d *document) verboseManifest {
	v := verboseManifest{Ref: d.Ref, Descriptor: d.Descriptor}
	if d.Descriptor.MediaType == ocispec.MediaTypeImageManifest {
		v.OCIManifest = d.Raw
	} else {
		v.SchemaV2Manifest = d.Raw
	}
	return v
}

func show(a *app.App, v any) error {
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	a.Println(string(text))
	return nil
}
