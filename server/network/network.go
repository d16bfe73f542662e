// Package network serves the Engine API's /networks routes.
package network

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"
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
	Create(context.Context, api.CreateRequest) (*api.Inspect, error)
	Remove(ctx context.Context, ref string) (*api.Inspect, error)
	Prune(ctx context.Context, match func(*api.Inspect) bool, dry bool) ([]api.Inspect, error)
}

// Containers puts containers into networks.
type Containers interface {
	NetworkConnect(ctx context.Context, container, network string, es *api.EndpointSettings) error
	NetworkDisconnect(ctx context.Context, container, network string, force bool) error
}

// Publisher takes the events of networks; *event.Bus is one.
type Publisher interface{ Publish(events.Message) }

// dryRunFilter asks a prune what it would remove: an addition of Sampan's.
const dryRunFilter = "dry-run"

type routes struct {
	networks   Service
	containers Containers
	events     Publisher
}

// Register adds the routes to s.
func Register(s *server.Server, networks Service, containers Containers, events Publisher) {
	r := routes{networks, containers, events}
	s.Handle("GET /networks", r.list)
	s.Handle("GET /networks/", r.list) // Docker's has both
	s.Handle("GET /networks/{id}", r.inspect)
	s.Handle("POST /networks/create", r.create)
	s.Handle("POST /networks/prune", r.prune)
	s.Handle("DELETE /networks/{id}", r.remove)
	s.Handle("POST /networks/{id}/connect", r.connect)
	s.Handle("POST /networks/{id}/disconnect", r.disconnect)
}

func (r routes) publish(action events.Action, n *api.Inspect) {
	r.events.Publish(events.Message{Type: events.NetworkEventType, Action: action,
		Actor: events.Actor{ID: n.ID, Attributes: map[string]string{"name": n.Name, "type": n.Driver}}})
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

func (r routes) create(c *server.Call) error {
	var body api.CreateRequest
	if err := c.DecodeRequired(&body); err != nil {
		return err
	}
	n, err := r.networks.Create(c.Context(), body)
	if err != nil {
		return err
	}
	r.publish(events.ActionCreate, n)
	return c.JSON(http.StatusCreated, api.CreateResponse{ID: n.ID})
}

func (r routes) remove(c *server.Call) error {
	n, err := r.networks.Remove(c.Context(), c.Name)
	if err != nil {
		return err
	}
	r.publish(events.ActionDestroy, n)
	return c.NoContent()
}

func (r routes) prune(c *server.Call) error {
	f, err := c.Filters("label", "label!", "until", dryRunFilter)
	if err != nil {
		return err
	}
	until, err := server.Until(f)
	if err != nil {
		return err
	}
	dry, err := f.Bool(dryRunFilter, false)
	if err != nil {
		return err
	}
	report := api.PruneReport{NetworksDeleted: []string{}}
	gone, err := r.networks.Prune(c.Context(), func(n *api.Inspect) bool {
		return (until.IsZero() || n.Created.Before(until)) && f.Labels("label", n.Labels) && !(f.Has("label!") && f.Labels("label!", n.Labels))
	}, dry)
	for i := range gone {
		report.NetworksDeleted = append(report.NetworksDeleted, gone[i].Name)
		if !dry {
			r.publish(events.ActionDestroy, &gone[i])
		}
	}
	if err != nil || dry {
		if err == nil {
			err = c.JSON(http.StatusOK, report)
		}
		return err
	}
	r.events.Publish(events.Message{Type: events.NetworkEventType, Action: events.ActionPrune,
		Actor: events.Actor{Attributes: map[string]string{"reclaimed": "0"}}})
	return c.JSON(http.StatusOK, report)
}

func (r routes) connect(c *server.Call) error {
	var body api.ConnectRequest
	if err := c.DecodeRequired(&body); err != nil {
		return err
	}
	if body.Container == "" {
		return fault.New(fault.Invalid, "connect to network %s: no container is named", c.Name)
	}
	if err := r.containers.NetworkConnect(c.Context(), body.Container, c.Name, body.EndpointConfig); err != nil {
		return err
	}
	c.W.WriteHeader(http.StatusOK)
	return nil
}

func (r routes) disconnect(c *server.Call) error {
	var body api.DisconnectRequest
	if err := c.DecodeRequired(&body); err != nil {
		return err
	}
	if body.Container == "" {
		return fault.New(fault.Invalid, "disconnect from network %s: no container is named", c.Name)
	}
	if err := r.containers.NetworkDisconnect(c.Context(), body.Container, c.Name, body.Force); err != nil {
		return err
	}
	c.W.WriteHeader(http.StatusOK)
	return nil
}
