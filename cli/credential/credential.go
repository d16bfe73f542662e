// Package credential keeps logins to registries where Docker's client does: in
// the file config.json, or with a credential helper (docker-credential-NAME) that
// this file names. So both clients share them.
//
// A login is filed under the registry's host; Docker Hub's under its old URL.
package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sampan-containers/sampan/cli/app"
)

// HubKey is how Docker Hub is filed.
const HubKey = "https://index.docker.io/v1/"

// Login is one registry's login, in the form of the Engine API.
type Login struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	ServerAddress string `json:"serveraddress,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// Header is the login as X-Registry-Auth; none is "".
func (l *Login) Header() string {
	if l == nil {
		return ""
	}
	text, err := json.Marshal(l)
	if err != nil {
		return "" // strings always encode
	}
	return base64.URLEncoding.EncodeToString(text)
}

// Key is how a registry is filed: a host, or what users write for one.
func Key(server string) string {
	host := server
	for _, scheme := range []string{"https://", "http://"} {
		host = strings.TrimPrefix(host, scheme)
	}
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "", "docker.io", "index.docker.io", "registry-1.docker.io":
		return HubKey
	}
	return host
}

// Get returns the login of a registry, or nil if there is none.
func Get(ctx context.Context, a *app.App, server string) (*Login, error) {
	cfg := a.Config()
	key := Key(server)
	if helper := cfg.Helper(key); helper != "" {
		return get(ctx, helper, key)
	}
	for _, k := range fileKeys(cfg, key) {
		if login := fromFile(k, cfg.Auths[k]); login != nil {
			return login, nil
		}
	}
	return nil, nil
}

// All is every login that is stored or has a helper of its own, as the header
// X-Registry-Config; none is "".
func All(ctx context.Context, a *app.App) (string, error) {
	cfg := a.Config()
	logins := map[string]*Login{}
	for _, server := range slices.Concat(slices.Collect(maps.Keys(cfg.Auths)), slices.Collect(maps.Keys(cfg.CredHelpers))) {
		login, err := Get(ctx, a, server)
		if err != nil {
			return "", err
		}
		if login != nil {
			logins[Key(server)] = login
		}
	}
	if len(logins) == 0 {
		return "", nil
	}
	text, err := json.Marshal(logins)
	return base64.URLEncoding.EncodeToString(text), err
}

// fileKeys are the entries of the file that are for a registry: other tools write
// it with a scheme or a path.
func fileKeys(cfg *app.Config, key string) []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(cfg.Auths)) {
		if k != key && Key(k) == key {
			keys = append(keys, k)
		}
	}
	if _, ok := cfg.Auths[key]; ok {
		keys = append([]string{key}, keys...)
	}
	return keys
}

func fromFile(key string, stored app.Auth) *Login {
	login := &Login{ServerAddress: key, IdentityToken: stored.IdentityToken, RegistryToken: stored.RegistryToken}
	if plain, err := base64.StdEncoding.DecodeString(stored.Auth); err == nil {
		if user, password, ok := strings.Cut(string(plain), ":"); ok {
			login.Username, login.Password = user, strings.Trim(password, "\x00")
		}
	}
	if login.Username == "" && login.IdentityToken == "" && login.RegistryToken == "" {
		return nil
	}
	return login
}

// Store keeps a login. file tells the path if it was written there as it is.
func Store(ctx context.Context, a *app.App, l *Login) (file string, err error) {
	key := Key(l.ServerAddress)
	if helper := a.Config().Helper(key); helper != "" {
		return "", store(ctx, helper, key, l)
	}
	entry := app.Auth{IdentityToken: l.IdentityToken}
	if l.IdentityToken == "" {
		entry.Auth = base64.StdEncoding.EncodeToString([]byte(l.Username + ":" + l.Password))
	} else {
		entry.Auth = base64.StdEncoding.EncodeToString([]byte(l.Username + ":"))
	}
	return a.EditConfig(func(values map[string]json.RawMessage) error {
		return editAuths(values, func(auths map[string]json.RawMessage) error {
			raw, err := json.Marshal(entry)
			auths[key] = raw
			return err
		})
	})
}

// Erase removes a registry's login, and tells whether there was one.
func Erase(ctx context.Context, a *app.App, server string) (bool, error) {
	key := Key(server)
	cfg := a.Config()
	keys := fileKeys(cfg, key)
	found := len(keys) > 0
	if helper := cfg.Helper(key); helper != "" {
		login, err := get(ctx, helper, key)
		if err != nil {
			return false, err
		}
		if login != nil {
			found = true
			if err := erase(ctx, helper, key); err != nil {
				return true, err
			}
		}
	}
	if len(keys) == 0 {
		return found, nil
	}
	_, err := a.EditConfig(func(values map[string]json.RawMessage) error {
		return editAuths(values, func(auths map[string]json.RawMessage) error {
			for _, k := range keys {
				delete(auths, k)
			}
			return nil
		})
	})
	return found, err
}

func editAuths(values map[string]json.RawMessage, edit func(map[string]json.RawMessage) error) error {
	auths := map[string]json.RawMessage{}
	if raw := values["auths"]; raw != nil {
		if err := json.Unmarshal(raw, &auths); err != nil {
			return fmt.Errorf("its key auths is not valid: %w", err)
		}
	}
	if err := edit(auths); err != nil {
		return err
	}
	raw, err := json.Marshal(auths)
	values["auths"] = raw
	return err
}

// errNotFound is what helpers say when they have nothing.
var errNotFound = errors.New("credentials not found in native keychain")
