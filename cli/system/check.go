package system

import (
	"errors"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// NewCheck makes `system check`, a verb of our own.
func NewCheck(a *app.App) *cobra.Command {
	var repair bool
	cmd := named(&cobra.Command{
		Use:               "check [OPTIONS]",
		Short:             "Verify all images on disk against their digests",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.ImageCheck(cmd.Context(), repair)
			if client.NoSuchRoute(err) {
				return errors.New("this daemon cannot check its images; it is not Sampan's, or an older one")
			}
			if err != nil {
				return err
			}
			if a.Out.IsTerminal() {
				terminal.CleanDeep(&got)
			}
			return report(a, &got, repair)
		},
	}, "system check")
	cmd.Flags().BoolVar(&repair, "repair", false, "Make damaged layers and blobs whole again")
	return cmd
}

func report(a *app.App, got *client.ImageCheckResult, repair bool) error {
	a.Println(fmt.Sprintf("Checked %d layers and %d blobs, %s", got.Layers, got.Blobs, units.HumanSize(float64(got.Bytes))))
	left := 0
	for _, d := range got.Damaged {
		state := "damaged"
		if d.Repaired {
			state = "repaired"
		} else {
			left++
		}
		a.Println(fmt.Sprintf("%s: %s %s of %s: %s", state, d.Kind, d.Digest, strings.Join(d.Images, ", "), d.Reason))
	}
	switch {
	case left == 0:
		a.Println("All images are whole")
		return nil
	case repair:
		return errors.New(got.Failed)
	}
	return fmt.Errorf("%d of them are damaged (sampan system check --repair, or remove the images and get them again)", left)
}
