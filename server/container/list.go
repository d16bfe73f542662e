package container

import (
	"net/http"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

func (r routes) list(c *server.Call) error {
	filters, err := filter.Parse(c.Query("filters")) // the service knows the terms
	if err != nil {
		return err
	}
	// The oldest clients have a parameter for each of these two.
	for _, old := range []string{"since", "before"} {
		if v := c.Query(old); v != "" {
			if filters == nil {
				filters = filter.Args{}
			}
			filters[old] = append(filters[old], v)
		}
	}
	o := container.ListOptions{All: c.Bool("all"), Size: c.Bool("size"), Brief: c.Bool("brief"), Filters: container.Filters(filters)}
	limit, err := c.Int("limit")
	if err != nil {
		return err
	}
	if limit != nil && *limit > 0 {
		o.Limit = *limit
	}
	list, err := r.containers.List(c.Context(), o)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, compat.Containers(c.Version, list))
}
