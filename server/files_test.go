package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	api "github.com/moby/moby/api/types/container"
	apiimage "github.com/moby/moby/api/types/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/archive"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/image/transfer"
)

// The fake container "web" has one file, /f; writing breaks off in /cut.

func (e *engine) StatPath(_ context.Context, ref, path string) (*api.PathStat, error) {
	if ref != "web" {
		return nil, fault.New(fault.NotFound, "No such container: %s", ref)
	}
	if path != "/f" && path != "/cut" {
		return nil, fault.New(fault.NotFound, "Could not find the file %s in container %s", path, ref)
	}
	return &api.PathStat{Name: path[1:], Size: 2, Mode: 0o644 | fs.ModeSetuid}, nil
}

func (e *engine) ArchivePath(ctx context.Context, ref, path string, begin func(*api.PathStat) io.Writer) error {
	st, err := e.StatPath(ctx, ref, path)
	if err != nil {
		return err
	}
	w := begin(st)
	fmt.Fprint(w, "tar of "+path)
	if path == "/cut" {
		return fault.New(fault.Unavailable, "the disk is gone")
	}
	return nil
}

func (e *engine) ExtractToDir(_ context.Context, ref, path string, content io.Reader, o container.ExtractOptions) error {
	raw, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if path == "/ro" {
		return fault.New(fault.Forbidden, "container rootfs is marked read-only")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signal = fmt.Sprintf("%s %s %s %v %v", ref, path, raw, o.NoOverwriteDirNonDir, o.CopyUIDGID)
	return nil
}

func (e *engine) Changes(context.Context, string) ([]api.FilesystemChange, error) {
	return []api.FilesystemChange{{Kind: api.ChangeDelete, Path: "/x"}}, nil
}

func (e *engine) Export(_ context.Context, ref string, begin func() io.Writer) error {
	_, err := fmt.Fprint(begin(), "root of "+ref)
	return err
}

func (e *engine) Commit(_ context.Context, ref string, o container.CommitOptions) (string, error) {
	cmd := ""
	if o.Config != nil {
		cmd = strings.Join(o.Config.Cmd, "+")
	}
	return fmt.Sprintf("%s %s %s %s %v %v %s", ref, o.Reference, o.Author, o.Comment, o.Pause, o.Changes, cmd), nil
}

func (images) Load(_ context.Context, r io.Reader, o archive.LoadOptions, progress io.Writer) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return fault.New(fault.Invalid, "load: this is not a tar archive")
	}
	_, err = fmt.Fprintf(progress, "{\"stream\":\"%s %v %d\"}\r\n", raw, o.Quiet, len(o.Platforms))
	return err
}

func (images) Save(_ context.Context, names []string, platforms []ocispec.Platform, begin func() io.Writer) error {
	if len(names) == 0 {
		return fault.New(fault.Invalid, "save: no image was named")
	}
	_, err := fmt.Fprint(begin(), names, len(platforms))
	return err
}

func (images) Prune(_ context.Context, o image.PruneOptions) (*apiimage.PruneReport, error) {
	return &apiimage.PruneReport{ImagesDeleted: []apiimage.DeleteResponse{{Deleted: fmt.Sprint(o.Unused, o.WantLabel(map[string]string{"a": "b"}))}}}, nil
}

func TestFiles(t *testing.T) {
	e, _, _, client := start(t)
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1.41/containers/web/archive?path=/f", "", 200, "tar of /f"},
		{"GET", "/v1.41/containers/web/archive", "", 400, "path cannot be empty"},
		{"GET", "/v1.41/containers/web/archive?path=/no", "", 404, "Could not find the file /no in container web"},
		{"GET", "/v1.41/containers/no/archive?path=/f", "", 404, "No such container: no"},
		{"PUT", "/v1.41/containers/web/archive?path=/ro", "x", 403, "read-only"},
		{"GET", "/v1.41/containers/web/changes", "", 200, `[{"Kind":2,"Path":"/x"}]`},
		{"GET", "/v1.41/containers/web/export", "", 200, "root of web"},
		{"POST", "/v1.41/commit?container=web&repo=app&author=me&comment=c&pause=0&changes=CMD+a", `{"Cmd":["a","b"]}`, 201, "web app:latest me c false [CMD a] a+b"},
		{"POST", "/v1.41/commit", "", 400, "needs the parameter container"},
		{"POST", "/v1.41/commit?container=web&repo=UP", "", 400, "is no image name"},
		{"POST", "/v1.41/images/load?quiet=1", "data", 200, `data true 0`},
		{"POST", "/v1.48/images/load?quiet=0&platform=%7B%22os%22%3A%22linux%22%7D", "data", 200, `data false 1`},
		{"POST", "/v1.48/images/load?platform=x", "data", 400, "failed to parse platform"},
		{"POST", "/v1.41/images/load", "", 400, "not a tar archive"},
		{"GET", "/v1.41/images/get?names=a&names=b", "", 200, "[a b] 0"},
		{"GET", "/v1.41/images/get", "", 400, "no image was named"},
		{"GET", "/v1.41/images/a/b:1/get", "", 200, "[a/b:1] 0"},
		{"POST", "/v1.41/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%2C%22label%21%22%3A%5B%22a%22%5D%7D", "", 200, "true false"},
		{"POST", "/v1.41/sampan/images/check", "", 200, `"Repaired":false`},
		{"POST", "/v1.41/sampan/images/check?repair=1", "", 200, `"Repaired":true`},
		{"POST", "/v1.41/images/prune?filters=%7B%22x%22%3A%5B%22y%22%5D%7D", "", 400, "invalid filter"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			status, body := ask(t, client, tt.method, tt.path, tt.body)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d %s; want %d with %q", status, body, tt.status, tt.want)
			}
		})
	}
	resp, err := client.Head("http://x/v1.41/containers/web/archive?path=/f")
	if err != nil {
		t.Fatal(err)
	}
	status, header := resp.StatusCode, resp.Header
	raw, err := base64.StdEncoding.DecodeString(header.Get("X-Docker-Container-Path-Stat"))
	var st api.PathStat
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	if status != 200 || err != nil || st.Name != "f" || st.Mode&fs.ModeSetuid == 0 {
		t.Errorf("HEAD: %d, %+v, %v", status, st, err)
	}
	if status, body := ask(t, client, "PUT", "/v1.41/containers/web/archive?path=/d&noOverwriteDirNonDir=1&copyUIDGID=true", "plain"); status != 200 || e.signal != "web /d plain true true" {
		t.Errorf("PUT: %d %s, %q", status, body, e.signal)
	}
	// An error after the first byte must not look like the end.
	resp, err = client.Get("http://x/v1.41/containers/web/archive?path=/cut")
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("a download that was broken off looks whole")
	}
}

func (images) Check(context.Context) (*integrity.Report, error) {
	return &integrity.Report{Layers: 2, Damaged: []image.Damage{{Kind: "layer", Digest: "sha256:x"}}}, nil
}

func (images) Refetch(context.Context, image.Damage, transfer.Logins) error { return nil }

func (images) Repair(_ context.Context, report *integrity.Report, _ integrity.Fetch) error {
	report.Damaged[0].Repaired = true
	return fault.New(fault.Conflict, "container web uses it")
}
