// Package contextstore keeps contexts: names for daemons, with what is needed
// to reach them. They lie in the directory of the configuration file in
// Docker's layout, so that both clients see the same ones:
//
//	contexts/meta/SHA256(NAME)/meta.json
//	contexts/tls/SHA256(NAME)/docker/{ca,cert,key}.pem
//
// The context "default" is in no file: it is what flags and environment say.
package contextstore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Default is the name of the context that is not stored.
const Default = "default"

const (
	metaFile    = "meta.json"
	dockerEnd   = "docker"
	description = "Description"
	maxFile     = 1 << 20
)

// TLSFiles are the files with TLS material that a context may have.
var TLSFiles = []string{"ca.pem", "cert.pem", "key.pem"}

// ErrNotFound is the class of errors about names that no context has.
var ErrNotFound = errors.New("does not exist")

// Context is what is stored under one name.
type Context struct {
	Name string
	// Metadata holds the description, and what other programs put there.
	Metadata  map[string]any
	Endpoints map[string]Endpoint
}

// Endpoint is how a daemon is reached.
type Endpoint struct {
	Host          string `json:",omitempty"`
	SkipTLSVerify bool
	// more is what other programs put there, as Docker's for Kubernetes.
	more map[string]json.RawMessage
}

// UnmarshalJSON keeps what it does not know.
func (e *Endpoint) UnmarshalJSON(raw []byte) error {
	type known Endpoint
	var k known
	if err := json.Unmarshal(raw, &k); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &k.more); err != nil {
		return err
	}
	delete(k.more, "Host")
	delete(k.more, "SkipTLSVerify")
	*e = Endpoint(k)
	return nil
}

// MarshalJSON writes that as well.
func (e Endpoint) MarshalJSON() ([]byte, error) {
	all := map[string]any{"SkipTLSVerify": e.SkipTLSVerify}
	if e.Host != "" {
		all["Host"] = e.Host
	}
	for name, raw := range e.more {
		all[name] = raw
	}
	return json.Marshal(all)
}

// Description is the text for people.
func (c *Context) Description() string {
	text, _ := c.Metadata[description].(string)
	return text
}

// Describe replaces the description; an empty one is taken away.
func (c *Context) Describe(text string) {
	if c.Metadata == nil {
		c.Metadata = map[string]any{}
	}
	if c.Metadata[description] = text; text == "" {
		delete(c.Metadata, description)
	}
}

// Docker is the endpoint of the Engine API.
func (c *Context) Docker() Endpoint { return c.Endpoints[dockerEnd] }

// SetDocker replaces it. Endpoints of other programs stay.
func (c *Context) SetDocker(e Endpoint) {
	if c.Endpoints == nil {
		c.Endpoints = map[string]Endpoint{}
	}
	c.Endpoints[dockerEnd] = e
}

// Store is the contexts below one configuration directory. Nothing needs to
// exist until a context is put there.
type Store struct{ dir string }

// New makes the store of a configuration directory.
func New(configDir string) Store { return Store{filepath.Join(configDir, "contexts")} }

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// MetaDir is where the description of a context lies.
func (s Store) MetaDir(name string) string { return filepath.Join(s.dir, "meta", hash(name)) }

// TLSDir is where its TLS material lies.
func (s Store) TLSDir(name string) string { return filepath.Join(s.dir, "tls", hash(name)) }

// CheckName tells whether a context may have this name.
func CheckName(name string) error {
	if name == Default {
		return fmt.Errorf("%q is a reserved context name", name)
	}
	alnum := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	bad := strings.IndexFunc(name, func(r rune) bool { return !alnum(r) && !strings.ContainsRune("_.+-", r) })
	if len(name) < 2 || bad >= 0 || !alnum(rune(name[0])) {
		return fmt.Errorf(`context name %q is invalid, names are validated against regexp "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"`, name)
	}
	return nil
}

// Get reads one context.
func (s Store) Get(name string) (*Context, error) {
	c, err := read(filepath.Join(s.MetaDir(name), metaFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("context %q %w", name, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("context %q: %w", name, err)
	case c.Name != name:
		return nil, fmt.Errorf("context %q: its file is of the context %q", name, c.Name)
	}
	return c, nil
}

func read(path string) (*Context, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &Context{}
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(c); err != nil {
		return nil, fmt.Errorf("%s is not valid: %w", path, err)
	}
	return c, nil
}

// List reads all contexts, by name. Those that cannot be read are left out, and
// what is wrong with them is returned beside the list.
func (s Store) List() ([]*Context, error) {
	dirs, err := os.ReadDir(filepath.Join(s.dir, "meta"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []*Context
	var wrong []error
	for _, d := range dirs {
		c, err := read(filepath.Join(s.dir, "meta", d.Name(), metaFile))
		switch {
		case err == nil && hash(c.Name) == d.Name():
			all = append(all, c)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			wrong = append(wrong, err)
		}
	}
	slices.SortFunc(all, func(x, y *Context) int { return strings.Compare(x.Name, y.Name) })
	return all, errors.Join(wrong...)
}

// Put writes a context, new or not.
func (s Store) Put(c *Context) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return write(filepath.Join(s.MetaDir(c.Name), metaFile), raw, 0o644)
}

// Remove removes a context and its TLS material.
func (s Store) Remove(name string) error {
	if _, err := s.Get(name); errors.Is(err, ErrNotFound) {
		return err
	}
	return errors.Join(os.RemoveAll(s.TLSDir(name)), os.RemoveAll(s.MetaDir(name)))
}

// TLS returns the paths of the TLS material that a context has, by file name.
func (s Store) TLS(name string) map[string]string {
	found := map[string]string{}
	for _, file := range TLSFiles {
		path := filepath.Join(s.TLSDir(name), dockerEnd, file)
		if _, err := os.Stat(path); err == nil {
			found[file] = path
		}
	}
	return found
}

// SetTLS replaces all TLS material of a context.
func (s Store) SetTLS(name string, files map[string][]byte) error {
	if err := os.RemoveAll(s.TLSDir(name)); err != nil {
		return err
	}
	for file, raw := range files {
		if err := write(filepath.Join(s.TLSDir(name), dockerEnd, file), raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file appear whole.
func write(path string, raw []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
