package image

import (
	"net/http"

	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

var (
	listFilters = []string{"dangling", "label", "before", "since", "until", "reference"}

	referenceFilterSince = server.V(1, 41) // before, it was a parameter of its own
	sharedSizeSince      = server.V(1, 42)
	manifestsSince       = server.V(1, 47)
)

func (r routes) list(c *server.Call) error {
	filters, err := c.Filters(listFilters...)
	if err != nil {
		return err
	}
	if glob := c.Query("filter"); glob != "" && c.Version < referenceFilterSince {
		if filters == nil {
			filters = filter.Args{}
		}
		filters["reference"] = append(filters["reference"], glob)
	}
	list, err := r.images.List(c.Context(), image.ListOptions{
		All: c.Bool("all"), SharedSize: c.Version >= sharedSizeSince && c.Bool("shared-size"), Filters: filters,
		Manifests: c.Version >= manifestsSince && c.Bool("manifests"),
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, compat.Images(c.Version, list))
}
