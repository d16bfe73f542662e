// Package distribution serves the Engine API's routes that ask registries and
// change nothing here: /auth, /images/search and /distribution.
package distribution

import (
	"context"
	"net/http"
	"strconv"

	"github.com/moby/moby/api/types/registry"
	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/server"
)

// maxResults is Docker's bound of limit, defaultResults what it takes without.
const (
	maxResults     = 100
	defaultResults = 25
)

// Service is what the routes need. Errors carry a fault class.
type Service interface {
	Login(ctx context.Context, login auth.Credentials) (*registry.AuthResponse, error)
	Search(ctx context.Context, o transfer.SearchOptions) ([]registry.SearchResult, error)
	Inspect(ctx context.Context, name string, login auth.Credentials) (*registry.DistributionInspect, error)
	Manifest(ctx context.Context, name string, o transfer.ManifestOptions) (*transfer.Manifest, error)
	PutIndex(ctx context.Context, name string, o transfer.ManifestOptions) (*transfer.Manifest, error)
	Referrers(ctx context.Context, name string, o transfer.ReferrersOptions) (*transfer.Referrers, error)
}

type routes struct{ transfers Service }

// Register adds the routes to s.
func Register(s *server.Server, transfers Service) {
	r := routes{transfers}
	s.Handle("POST /auth", r.auth)
	s.Handle("GET /images/search", r.search)
	s.Handle("GET /distribution/{name}/json", r.inspect)
	s.Handle("POST /distribution/{name}/manifest", r.manifest)
	s.Handle("POST /distribution/{name}/referrers", r.referrers)
}

func (r routes) auth(c *server.Call) error {
	var login auth.Credentials
	if err := c.Decode(&login); err != nil {
		return err
	}
	answer, err := r.transfers.Login(c.Context(), login.Expand())
	if err != nil {
		return server.FromRegistry(err)
	}
	return c.JSON(http.StatusOK, answer)
}

func (r routes) search(c *server.Call) error {
	o := transfer.SearchOptions{Term: c.Query("term"), Limit: defaultResults}
	limit, err := c.Int("limit")
	if err != nil {
		return err
	}
	if limit != nil && *limit != 0 {
		o.Limit = *limit
	}
	if o.Limit < 1 || o.Limit > maxResults {
		return fault.New(fault.Invalid, "Limit %d is outside the range of [1, %d]", o.Limit, maxResults)
	}
	f, err := c.Filters("is-automated", "is-official", "stars")
	if err != nil {
		return err
	}
	if err := searchFilters(f, &o); err != nil {
		return err
	}
	if o.Login, err = auth.ParseHeader(c.Header.Get(registry.AuthHeader)); err != nil {
		return err
	}
	found, err := r.transfers.Search(c.Context(), o)
	if err != nil {
		return server.FromRegistry(err)
	}
	return c.JSON(http.StatusOK, found)
}

func searchFilters(f filter.Args, o *transfer.SearchOptions) error {
	for key, to := range map[string]**bool{"is-automated": &o.Automated, "is-official": &o.Official} {
		if !f.Has(key) {
			continue
		}
		b, err := f.Bool(key, false)
		if err != nil {
			return err
		}
		*to = &b
	}
	for _, text := range f["stars"] {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fault.New(fault.Invalid, "invalid filter 'stars=%s'", text)
		}
		o.Stars = max(o.Stars, n)
	}
	return nil
}

func (r routes) inspect(c *server.Call) error {
	login, err := auth.ParseHeader(c.Header.Get(registry.AuthHeader))
	if err != nil {
		return err
	}
	answer, err := r.transfers.Inspect(c.Context(), c.Name, login)
	if err != nil {
		return server.FromRegistry(err)
	}
	return c.JSON(http.StatusOK, answer)
}

// manifest is Sampan's own route, for the commands of "manifest": it reads one
// document of a registry, or writes an index.
func (r routes) manifest(c *server.Call) error {
	var o transfer.ManifestOptions
	if err := c.DecodeRequired(&o); err != nil {
		return err
	}
	o.Login = o.Login.Expand()
	do := r.transfers.Manifest
	if o.Put != nil {
		do = r.transfers.PutIndex
	}
	answer, err := do(c.Context(), c.Name, o)
	if err != nil {
		return server.FromRegistry(err)
	}
	return c.JSON(http.StatusOK, answer)
}

// referrers is Sampan's own route: what refers to a manifest of a registry.
func (r routes) referrers(c *server.Call) error {
	var o transfer.ReferrersOptions
	if err := c.DecodeRequired(&o); err != nil {
		return err
	}
	o.Login = o.Login.Expand()
	answer, err := r.transfers.Referrers(c.Context(), c.Name, o)
	if err != nil {
		return server.FromRegistry(err)
	}
	return c.JSON(http.StatusOK, answer)
}
