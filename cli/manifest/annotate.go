package manifest

import (
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

func newAnnotate(a *app.App) *cobra.Command {
	var p ocispec.Platform
	cmd := &cobra.Command{
		Use:               "annotate [OPTIONS] MANIFEST_LIST MANIFEST",
		Short:             "Say for which platform an image of an index is",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.None,
		RunE:              func(_ *cobra.Command, args []string) error { return annotate(a, p, args[0], args[1]) },
	}
	fs := cmd.Flags()
	fs.StringVar(&p.Architecture, "arch", "", "Architecture")
	fs.StringVar(&p.OS, "os", "", "Operating system")
	fs.StringSliceVar(&p.OSFeatures, "os-features", nil, "Features of the operating system")
	fs.StringVar(&p.OSVersion, "os-version", "", "Version of the operating system")
	fs.StringVar(&p.Variant, "variant", "", "Variant of the architecture")
	return cmd
}

func annotate(a *app.App, p ocispec.Platform, list, image string) error {
	x, err := load(a, list)
	if err != nil {
		return err
	}
	i := x.find(image)
	if i < 0 {
		return fmt.Errorf("manifest for image %s does not exist in manifest list %s", image, list)
	}
	have := x.Entries[i].Descriptor.Platform
	if have == nil {
		have = &ocispec.Platform{}
		x.Entries[i].Descriptor.Platform = have
	}
	for _, f := range []struct{ to, from *string }{
		{&have.Architecture, &p.Architecture}, {&have.OS, &p.OS}, {&have.OSVersion, &p.OSVersion}, {&have.Variant, &p.Variant},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	if len(p.OSFeatures) > 0 {
		have.OSFeatures = p.OSFeatures
	}
	return save(a, x)
}
