// Package auth speaks the two ways in which registries know their users: HTTP
// basic authentication and bearer tokens of a token server. It reads challenges,
// fetches tokens, and keeps them in memory until they expire.
//
// A login belongs to one registry. It goes to that host, and to the token
// server that the registry names if that is of the same domain or configured:
// a challenge from anywhere else gets no login (CVE-2020-15157, CVE-2019-10214).
package auth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// maxHeader bounds the X-Registry-Auth header; tokens of cloud registries have
// a few kilobytes.
const maxHeader = 64 << 10

// Credentials are one registry's login, in the form of the Engine API.
type Credentials struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	Auth          string `json:"auth,omitempty"`
	ServerAddress string `json:"serveraddress,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// Empty tells whether this is no login at all.
func (c Credentials) Empty() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// String keeps logins out of logs.
func (c Credentials) String() string { return "login of " + c.ServerAddress }

// Format keeps them out of every verb of fmt.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// ParseHeader reads X-Registry-Auth: base64 of JSON, empty for none. Docker
// takes a header that cannot be read as no login; so do we, as clients exist
// that send nonsense.
func ParseHeader(text string) (Credentials, error) {
	if len(text) > maxHeader {
		return Credentials{}, fault.New(fault.Invalid, "X-Registry-Auth has %d bytes, more than the limit of %d", len(text), maxHeader)
	}
	raw, err := decodeBase64(text)
	var c Credentials
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return Credentials{}, nil
	}
	return c.Expand(), nil
}

// Expand takes user and password out of the field auth.
func (c Credentials) Expand() Credentials {
	if c.Auth != "" && c.Username == "" {
		if raw, err := decodeBase64(c.Auth); err == nil {
			if user, password, ok := strings.Cut(string(raw), ":"); ok {
				c.Username, c.Password = user, strings.Trim(password, "\x00")
			}
		}
	}
	c.Auth = ""
	return c
}

// decodeBase64 takes both alphabets, with padding or without.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	return base64.RawStdEncoding.DecodeString(text)
}

// maxConfig bounds X-Registry-Config, which has a login for each registry.
const maxConfig = 1 << 20

// ParseConfig reads X-Registry-Config: base64 of JSON, logins by registry as
// Docker's configuration file names them. What it returns finds one by the
// registry's name in references.
func ParseConfig(text string) (func(domain string) Credentials, error) {
	if len(text) > maxConfig {
		return nil, fault.New(fault.Invalid, "the logins in the request's header are larger than the limit of %d bytes", maxConfig)
	}
	byServer := map[string]Credentials{}
	if raw, err := decodeBase64(text); err == nil && len(raw) > 0 {
		if err := json.Unmarshal(raw, &byServer); err != nil {
			return nil, fault.New(fault.Invalid, "the logins in the request's header cannot be read: %w", err)
		}
	}
	logins := map[string]Credentials{}
	for server, c := range byServer {
		logins[Domain(server)] = c.Expand()
	}
	return func(domain string) Credentials { return logins[domain] }, nil
}

// Domain turns what users and configurations call a registry ("", docker.io,
// https://index.docker.io/v1/, https://quay.io/) into its name in references.
func Domain(server string) string {
	host := server
	for _, scheme := range []string{"https://", "http://"} {
		host = strings.TrimPrefix(host, scheme)
	}
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return hub
	}
	return host
}

// hub is Docker Hub.
const hub = "docker.io"
