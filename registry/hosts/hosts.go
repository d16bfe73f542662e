// Package hosts decides which servers are asked for a repository, in which
// order, and how far each is trusted: mirrors for every registry, insecure
// registries, certificates of certs.d, and proxies.
//
// Whether a server may be reached without verified TLS is decided by the
// configured name alone, never by what a server answers (CVE-2014-5277).
package hosts

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// Hub is the name of Docker Hub in references, hubServer where it answers,
	// and HubKey how logins to it are filed.
	Hub       = "docker.io"
	hubServer = "registry-1.docker.io"
	HubKey    = "https://index.docker.io/v1/"

	// Any is the key of the table for registries that it does not list.
	Any = "*"

	maxMirrors = 32
)

// Registry is a row of the table "registries" in daemon.json. Its key is a
// registry (quay.io, localhost:5000), a part of one (quay.io/team) or "*"; of
// several keys that fit the longest counts.
type Registry struct {
	// Mirrors are asked in order before the registry itself, for reading only.
	// Each is a URL or a host; a path is put before the repository's name. A
	// mirror of "*" is told the registry's name in the parameter ns.
	Mirrors []string `json:"mirrors,omitempty"`
	// Insecure accepts any certificate of the registry, and plain HTTP.
	Insecure bool `json:"insecure,omitempty"`
	// TokenServers are hosts of other domains that may be given this registry's
	// login when it sends clients there for a token.
	TokenServers []string `json:"token-servers,omitempty"`
}

// Config is the administrator's say.
type Config struct {
	Mirrors    []string            // of Docker Hub: --registry-mirror
	Insecure   []string            // hosts, host:port or CIDR: --insecure-registry
	Registries map[string]Registry // the table
	CertDirs   []string            // each holds a directory host[:port]
	Proxy      Proxy
}

// Endpoint is one server that may be asked for a repository.
type Endpoint struct {
	// Scheme is https or http; empty means https first and then, because the
	// host is insecure by configuration, http.
	Scheme   string
	Host     string // host[:port]
	Prefix   string // put before the repository's name, with its slash
	Insecure bool
	Mirror   bool
	NS       string // registry that a mirror of all registries stands for
	// TokenServers are those of the registry; mirrors are given no login.
	TokenServers []string
}

func (e Endpoint) String() string {
	scheme := e.Scheme
	if scheme == "" {
		scheme = "https"
	}
	return scheme + "://" + e.Host
}

// Validate finds mistakes before the first pull does.
func (c *Config) Validate() error {
	for _, m := range c.Mirrors {
		if _, err := parseMirror(m, c); err != nil {
			return err
		}
	}
	for _, name := range c.Insecure {
		if strings.Contains(name, "://") || name == "" {
			return fault.New(fault.Invalid, "insecure registry %q is not a host, host:port or CIDR (leave out the scheme)", name)
		}
		if _, _, found := strings.Cut(name, "/"); found {
			if _, err := netip.ParsePrefix(name); err != nil {
				return fault.New(fault.Invalid, "insecure registry %q is not a host, host:port or CIDR: %w", name, err)
			}
		}
	}
	for key, row := range c.Registries {
		if key == "" || strings.Contains(key, "://") || strings.HasSuffix(key, "/") {
			return fault.New(fault.Invalid, "registries: %q is not a registry, such as quay.io or localhost:5000", key)
		}
		if len(row.Mirrors) > maxMirrors {
			return fault.New(fault.Invalid, "registries: %q has %d mirrors, more than the limit of %d", key, len(row.Mirrors), maxMirrors)
		}
		for _, m := range row.Mirrors {
			if _, err := parseMirror(m, c); err != nil {
				return fmt.Errorf("registries: %q: %w", key, err)
			}
		}
	}
	return c.Proxy.validate()
}

// Read lists the servers to ask for reading, in order: mirrors, then the
// registry itself.
func (c *Config) Read(name reference.Named) []Endpoint {
	domain := reference.Domain(name)
	key, row := c.row(name)
	mirrors := row.Mirrors
	if domain == Hub && len(c.Mirrors) > 0 && (key == Any || len(mirrors) == 0) {
		key, mirrors = Hub, c.Mirrors
	}
	var list []Endpoint
	for _, text := range mirrors {
		e, err := parseMirror(text, c)
		if err != nil {
			continue // Validate has refused it
		}
		if key == Any {
			e.NS = domain
		}
		list = append(list, *e)
	}
	return append(list, c.Origin(name))
}

// Origin is the registry itself.
func (c *Config) Origin(name reference.Named) Endpoint {
	_, row := c.row(name)
	return c.origin(reference.Domain(name), row)
}

// Host is the registry of that name, for a login or a search.
func (c *Config) Host(domain string) Endpoint {
	if domain == "index.docker.io" {
		domain = Hub
	}
	return c.origin(domain, c.Registries[domain])
}

func (c *Config) origin(domain string, row Registry) Endpoint {
	e := Endpoint{Scheme: "https", Host: domain, TokenServers: row.TokenServers}
	if domain == Hub {
		e.Host = hubServer
	}
	if row.Insecure || c.insecure(domain) {
		e.Scheme, e.Insecure = "", true
	}
	return e
}

// row finds the longest key that is the name or a parent of it.
func (c *Config) row(name reference.Named) (string, Registry) {
	for key := name.Name(); ; {
		if row, ok := c.Registries[key]; ok {
			return key, row
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			return Any, c.Registries[Any]
		}
		key = key[:i]
	}
}

// InsecureNames lists what is insecure, for /info: CIDRs and names.
func (c *Config) InsecureNames() (cidrs []netip.Prefix, names []string) {
	cidrs = []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.0/8")}
	for _, text := range c.Insecure {
		if p, err := netip.ParsePrefix(text); err == nil {
			cidrs = append(cidrs, p)
		} else {
			names = append(names, text)
		}
	}
	for key, row := range c.Registries {
		if row.Insecure && !slices.Contains(names, key) {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return cidrs, names
}

// insecure goes by the name as it was configured or typed. A host name is never
// resolved for it: who answers DNS must not choose.
func (c *Config) insecure(host string) bool {
	bare := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		bare = h
	}
	if bare == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(bare, "[]"))
	isAddr := err == nil
	cidrs, names := c.InsecureNames()
	for _, p := range cidrs {
		if isAddr && p.Contains(addr.Unmap()) {
			return true
		}
	}
	return slices.Contains(names, host) || slices.Contains(names, bare)
}

func parseMirror(text string, c *Config) (*Endpoint, error) {
	whole := text
	if !strings.Contains(text, "://") {
		whole = "https://" + text
	}
	u, err := url.Parse(whole)
	if err != nil || u.Host == "" {
		return nil, fault.New(fault.Invalid, "mirror %q is neither a host nor a URL", text)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fault.New(fault.Invalid, "mirror %q: scheme %q is neither https nor http", text, u.Scheme)
	case u.User != nil:
		return nil, fault.New(fault.Invalid, "mirror %q has a user name: mirrors are asked without a login", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fault.New(fault.Invalid, "mirror %q has a query or a fragment", text)
	}
	e := &Endpoint{Scheme: u.Scheme, Host: u.Host, Mirror: true}
	if path := strings.Trim(u.Path, "/"); path != "" {
		if _, err := reference.WithName("mirror.invalid/" + path); err != nil {
			return nil, fault.New(fault.Invalid, "mirror %q: its path is not the beginning of a repository's name", text)
		}
		e.Prefix = path + "/"
	}
	e.Insecure = u.Scheme == "http" || c.insecure(u.Host)
	if e.Insecure && !strings.Contains(text, "://") {
		e.Scheme = ""
	}
	return e, nil
}
