package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/distribution/reference"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/hosts"
)

// Login tries a login at a registry. One that has identity tokens gives one, which is
// to be kept in the password's place.
func (c *Client) Login(ctx context.Context, server string, login auth.Credentials) (identity string, err error) {
	host := auth.Domain(server)
	if host == "" || strings.ContainsAny(host, " \t\r\n@?#\\") {
		return "", fault.New(fault.Invalid, "%q is no registry: use its host[:port]", server)
	}
	e := c.cfg.Host(host)
	resp, err := c.do(ctx, e, login, &request{method: http.MethodGet, offline: &identity})
	if err != nil {
		return "", fmt.Errorf("login attempt to %s/v2/ failed: %w", e, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("login attempt to %s/v2/ failed with status: %s: %w", e, resp.Status, answerError(resp))
	}
	drain(resp)
	return identity, nil
}

// Found is one result of a search.
type Found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stars       int    `json:"star_count"`
	Official    bool   `json:"is_official"`
	Automated   bool   `json:"is_automated"`
}

const (
	maxFound   = 100
	maxCatalog = 1 << 20
)

// Search asks a registry for repositories: Docker Hub by its search API, others
// by that if they have it, and else by their catalog. term may begin with the
// registry's name.
func (c *Client) Search(ctx context.Context, term string, limit int, login auth.Credentials) ([]Found, error) {
	host, rest := hosts.Hub, term
	if first, after, ok := strings.Cut(term, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		host, rest = first, after
	}
	if host == "index.docker.io" {
		host = hosts.Hub
	}
	if limit <= 0 || limit > maxFound {
		limit = maxFound
	}
	rest = strings.TrimPrefix(rest, "library/")
	e := c.cfg.Host(host)
	if host == hosts.Hub {
		e.Host = "index.docker.io"
	}
	found, err := c.index(ctx, e, rest, limit, login)
	if err != nil && host != hosts.Hub && Status(err) == http.StatusNotFound {
		return c.catalog(ctx, e, host, rest, limit, login)
	}
	return found, err
}

// index is the search API of registries of version 1, which the Hub still has.
func (c *Client) index(ctx context.Context, e hosts.Endpoint, term string, limit int, login auth.Credentials) ([]Found, error) {
	s := &Source{r: &Repository{c: c}, e: e}
	scheme := c.scheme(e)
	if scheme == "" { // finds out how the host is reached
		resp, err := c.do(ctx, e, login, &request{method: http.MethodGet})
		if err != nil {
			return nil, err
		}
		drain(resp)
		scheme = resp.Request.URL.Scheme
	}
	u := &url.URL{Scheme: scheme, Host: e.Host, Path: "/v1/search", RawQuery: url.Values{"q": {term}, "n": {fmt.Sprint(limit)}}.Encode()}
	resp, err := c.do(ctx, e, auth.Credentials{}, &request{method: http.MethodGet, url: u})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, answerError(resp)
	}
	raw, err := s.small(resp, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("search on %s: %w", e, err)
	}
	var answer struct{ Results []Found }
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fault.New(fault.Unavailable, "search on %s: the answer is not valid: %w", e, err)
	}
	return answer.Results[:min(limit, len(answer.Results))], nil
}

func (c *Client) catalog(ctx context.Context, e hosts.Endpoint, host, term string, limit int, login auth.Credentials) ([]Found, error) {
	named, err := reference.WithName(host + "/catalog")
	if err != nil {
		return nil, fault.New(fault.Invalid, "%q is no registry: %w", host, err)
	}
	s := &Source{r: &Repository{c: c, name: named, login: login}, e: e}
	var found []Found
	seen := 0
	err = s.pages(ctx, "_catalog", func(raw []byte) error {
		var page struct{ Repositories []string }
		if err := json.Unmarshal(raw, &page); err != nil {
			return fault.New(fault.Unavailable, "the catalog of %s is not valid: %w", e, err)
		}
		for _, name := range page.Repositories {
			if seen++; seen > maxCatalog {
				return fault.New(fault.Unavailable, "the catalog of %s has more than %d repositories", e, maxCatalog)
			}
			if strings.Contains(name, term) && len(found) < limit {
				found = append(found, Found{Name: host + "/" + name})
			}
		}
		return nil
	})
	return found, err
}
