package image

import (
	"net/http"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) prune(c *server.Call) error {
	f, err := c.Filters("dangling", "label", "label!", "until")
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
	report, err := r.images.Prune(c.Context(), image.PruneOptions{Unused: !dangling, Until: until,
		WantLabel: func(labels map[string]string) bool {
			return f.Labels("label", labels) && !(f.Has("label!") && f.Labels("label!", labels))
		}})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, report)
}
