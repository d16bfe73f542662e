// Package network serves the Engine API's /networks routes.
package network

import (
	"net/http"
	"slices"
	"strings"

	api "github.com/moby/moby/api/types/network"
	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

// Service is what the routes need of the network service. An unknown network
// is fault.NotFound.
type Service interface {
	Networks() []api.Inspect
	Inspect(ref string) (*api.Inspect, error)
}

type routes struct{ networks Service }

// Register adds the routes to s.
func Register(s *server.Server, networks Service) {
	r := routes{networks}
	s.Handle("GET /networks", r.list)
	s.Handle("GET /networks/{id}", r.inspect)
}

func (r routes) list(c *server.Call) error {
	filters, err := c.Filters("driver", "type", "name", "id", "label", "scope", "dangling")
	if err != nil {
		return err
	}
	for _, t := range filters.Get("type") {
		if t != "builtin" && t != "custom" {
			return fault.New(fault.Invalid, "invalid filter 'type=%s': want builtin or custom", t)
		}
	}
	dangling, err := filters.Bool("dangling", false)
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(r.networks.Networks(), func(n api.Inspect) bool {
		if filters.Has("dangling") && dangling != (!builtin(n.Name) && len(n.Containers) == 0) {
			return true
		}
		return !matches(filters, &n)
	})
	return c.JSON(http.StatusOK, compat.Networks(c.Version, found))
}

func matches(f filter.Args, n *api.Inspect) bool {
	kind := "custom"
	if builtin(n.Name) {
		kind = "builtin"
	}
	contains := func(term, s string) bool {
		return !f.Has(term) || slices.ContainsFunc(f.Get(term), func(v string) bool { return strings.Contains(s, v) })
	}
	return f.Exact("driver", n.Driver) && f.Exact("scope", n.Scope) && f.Exact("type", kind) &&
		contains("name", n.Name) && f.Prefix("id", n.ID) && f.Labels("label", n.Labels)
}

// builtin networks exist on every engine and cannot be removed.
func builtin(name string) bool {
	return name == api.NetworkBridge || name == api.NetworkHost || name == api.NetworkNone
}

func (r routes) inspect(c *server.Call) error {
	n, err := r.networks.Inspect(c.Name)
	if err != nil {
		return err
	}
	if scope := c.Query("scope"); scope != "" && scope != n.Scope {
		return fault.New(fault.NotFound, "network %s not found in scope %s", c.Name, scope)
	}
	return c.JSON(http.StatusOK, compat.Network(c.Version, n))
}
