package image

import (
	"net/http"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/server"
)

// dryRunFilter asks what would be removed. It is a filter and no parameter because
// a daemon that does not know it refuses, instead of removing.
const dryRunFilter = "dry-run"

func (r routes) prune(c *server.Call) error {
	f, err := c.Filters("dangling", "label", "label!", "until", dryRunFilter)
	if err != nil {
		return err
	}
	dry, err := f.Bool(dryRunFilter, false)
	if err != nil {
		return err
	}
	dangling, err := f.Bool("dangling", true)
	if err != nil {
		return err
	}
	until, err := server.Until(f)
	if err != nil {
		return err
	}
	report, err := r.images.Prune(c.Context(), image.PruneOptions{Unused: !dangling, DryRun: dry, Until: until,
		WantLabel: func(labels map[string]string) bool {
			return f.Labels("label", labels) && !(f.Has("label!") && f.Labels("label!", labels))
		}})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, report)
}
