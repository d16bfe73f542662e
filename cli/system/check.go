package system

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/credential"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// NewCheck makes `system check`, a verb of our own.
func NewCheck(a *app.App) *cobra.Command {
	var repair, images, all bool
	cmd := named(&cobra.Command{
		Use:               "check [OPTIONS]",
		Short:             "Look at the host: what containers need, and what each gap costs",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			if !images && !repair {
				return host(cmd.Context(), a, conn, all)
			}
			logins := ""
			if repair { // what is damaged may have to be fetched
				if logins, err = credential.All(cmd.Context(), a); err != nil {
					return err
				}
			}
			got, err := conn.ImageCheck(cmd.Context(), repair, logins)
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
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Show what is in order, too")
	cmd.Flags().BoolVar(&images, "images", false, "Verify all images on disk against their digests instead")
	cmd.Flags().BoolVar(&repair, "repair", false, "Make damaged layers and blobs whole again (implies --images)")
	return cmd
}

// host shows what was found on the daemon's machine, gaps only unless all is set.
func host(ctx context.Context, a *app.App, conn *connect.Conn, all bool) error {
	list, err := conn.HostCheck(ctx)
	if client.NoSuchRoute(err) {
		return errors.New("this daemon cannot check its host; it is not Sampan's, or an older one")
	}
	if err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&list)
	}
	counts := map[string]int{}
	for _, f := range list {
		counts[f.State]++
		if f.State == "ok" && !all {
			continue
		}
		line := fmt.Sprintf("%-5s  %-8s  %s: %s", f.State, f.Area, f.Name, f.Found)
		if f.Cost != "" {
			line += "\n" + strings.Repeat(" ", 17) + f.Cost
		}
		a.Println(line)
	}
	a.Println(fmt.Sprintf("%d in order, %d gaps, %d faults", counts["ok"], counts["gap"], counts["fault"]))
	if n := counts["fault"]; n > 0 {
		return fmt.Errorf("containers will not work as they should on this host: %d faults", n)
	}
	return nil
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
	return fmt.Errorf("%d of them are damaged (sampan system check --images --repair, or remove the images and get them again)", left)
}
