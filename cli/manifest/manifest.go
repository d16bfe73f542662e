// Package manifest holds the commands on manifests and indexes ("manifest
// lists") in registries. One verb is one file.
//
// An index under construction lies below the client's configuration directory,
// one file for each, until it is pushed. The daemon talks to the registry.
package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/credential"
)

// Commands are the verbs of `manifest`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{newAnnotate(a), newCreate(a), newInspect(a), newPush(a), newReferrers(a), newRm(a)}
}

const (
	indexDir = "sampan-indexes"
	maxIndex = 4 << 20
)

// entry is one image of an index.
type entry struct {
	Name       string             `json:"name"`
	Descriptor ocispec.Descriptor `json:"descriptor"`
}

// index is an index under construction.
type index struct {
	Ref     string  `json:"ref"`
	Entries []entry `json:"entries"`
}

// document is a manifest as the daemon gives it.
type document struct {
	Ref        string             `json:"ref"`
	Descriptor ocispec.Descriptor `json:"descriptor"`
	Raw        []byte             `json:"raw"`
}

// request is the body of the daemon's route.
type request struct {
	Login    *credential.Login `json:"login,omitempty"`
	Insecure bool              `json:"insecure,omitempty"`
	Put      *put              `json:"put,omitempty"`
}

type put struct {
	Entries []entry `json:"entries"`
}

// ask sends a request about a name to the daemon.
func ask(ctx context.Context, a *app.App, name string, insecure bool, entries []entry) (*document, error) {
	conn, err := a.Connect()
	if err != nil {
		return nil, err
	}
	r := request{Insecure: insecure}
	if r.Login, err = credential.Get(ctx, a, client.ParseReference(name).Domain); err != nil {
		return nil, err
	}
	if entries != nil {
		r.Put = &put{entries}
	}
	got := new(document)
	return got, conn.Call(ctx, "POST", "/distribution/"+full(name)+"/manifest", url.Values{}, r, got)
}

// full is a name with registry and tag.
func full(name string) string { return client.ParseReference(name).WithDefaultTag().String() }

// path is where an index under construction lies. Its name holds no separator, and
// nothing that leads elsewhere.
func path(a *app.App, name string) (string, error) {
	dir := a.ConfigDir()
	if dir == "" {
		return "", errors.New("there is no directory for indexes: set HOME or --config")
	}
	return filepath.Join(dir, indexDir, url.PathEscape(full(name))+".json"), nil
}

func load(a *app.App, name string) (*index, error) {
	file, err := path(a, name)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no such manifest: %s: %w", full(name), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	x := new(index)
	if err := json.Unmarshal(raw, x); err != nil {
		return nil, fmt.Errorf("%s is not valid: %w", file, err)
	}
	return x, nil
}

func save(a *app.App, x *index) error {
	file, err := path(a, x.Ref)
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(x, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

func remove(a *app.App, name string) error {
	file, err := path(a, name)
	if err != nil {
		return err
	}
	err = os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no such manifest: %s", full(name))
	}
	return err
}

// find returns the place of an image in an index, or -1.
func (x *index) find(name string) int {
	want := full(name)
	for i, e := range x.Entries {
		if e.Name == want || strings.HasPrefix(want, e.Name+"@") {
			return i
		}
	}
	return -1
}
