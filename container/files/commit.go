package files

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/archive"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/image"
	tree "github.com/sampan-containers/sampan/kernel/archive"
)

// CommitOptions says which image a container becomes.
type CommitOptions struct {
	Reference       string // repository[:tag], or empty
	Author, Comment string
	Pause           bool
	Changes         []string          // Dockerfile instructions
	Config          *container.Config // what it sets replaces the container's
}

// Commit makes an image of a container's image and its changes, and returns the id.
// The changes are read from the directory of changes, so volumes are not in it.
func (s *Files) Commit(ctx context.Context, ref string, o CommitOptions) (string, error) {
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return "", err
	}
	if o.Pause && e.Record().State.Status == container.StateRunning {
		resume, err := s.still(ctx, e)
		if err != nil {
			return "", err
		}
		defer resume()
	}
	rec := e.Record()
	upper, lower, done, err := s.layers(ctx, rec)
	if err != nil {
		return "", err
	}
	defer done()
	pr, pw := io.Pipe()
	defer pr.Close() // ends the packer when the image was refused
	go func() {
		t := tar.NewWriter(pw)
		err := tree.Pack(ctx, t, upper, "/", "", tree.PackOptions{Overlay: true, OmitTop: true,
			Skip: func(p string, st *unix.Stat_t) bool { return archive.IsStub(lower, upper, p, st) }})
		if err == nil {
			err = t.Close()
		}
		pw.CloseWithError(err)
	}()
	id, err := s.d.Images.Commit(ctx, pr, image.CommitOptions{
		Parent: rec.ImageID, Config: committed(rec, o.Config), Changes: o.Changes, Reference: o.Reference,
		Author: o.Author, Comment: o.Comment, CreatedBy: rec.Config.Cmd,
	})
	if err != nil {
		return "", fmt.Errorf("commit container %s: %w", e.ID, err)
	}
	s.d.Events.Publish(notice.Container(rec, events.ActionCommit, map[string]string{"comment": o.Comment, "imageID": id.String(), "imageRef": o.Reference}))
	return id.String(), nil
}

// still pauses a running container for its commit. One that ends meanwhile, before or
// after, is still as well.
func (s *Files) still(ctx context.Context, e *index.Entry) (resume func(), err error) {
	running := func() bool { return e.Record().State.Running() }
	if err := s.d.Pauser.Pause(ctx, e.ID); err != nil && running() {
		return nil, fmt.Errorf("pause container %s for the commit: %w", e.ID, err)
	} else if err != nil {
		return func() {}, nil
	}
	return func() {
		if err := s.d.Pauser.Unpause(context.WithoutCancel(ctx), e.ID); err != nil && running() {
			s.d.Log.Error("unpause a container after its commit", "container", e.ID, "error", err)
		}
	}, nil
}

// committed is the part of a container's settings that images have.
func committed(rec *record.Record, over *container.Config) dockerspec.DockerOCIImageConfig {
	c := *rec.Config
	if over != nil {
		c = merged(c, over)
	}
	out := dockerspec.DockerOCIImageConfig{}
	out.User, out.Env, out.Entrypoint, out.Cmd = c.User, c.Env, c.Entrypoint, c.Cmd
	out.WorkingDir, out.Labels, out.StopSignal, out.Volumes = c.WorkingDir, c.Labels, c.StopSignal, c.Volumes
	out.OnBuild, out.Shell = c.OnBuild, c.Shell
	for port := range c.ExposedPorts {
		if out.ExposedPorts == nil {
			out.ExposedPorts = map[string]struct{}{}
		}
		out.ExposedPorts[port.String()] = struct{}{}
	}
	if h := c.Healthcheck; h != nil {
		hc := dockerspec.HealthcheckConfig(*h)
		out.Healthcheck = &hc
	}
	return out
}

// merged lets what a request sets win over the container's settings.
func merged(c container.Config, over *container.Config) container.Config {
	if over.User != "" {
		c.User = over.User
	}
	if over.WorkingDir != "" {
		c.WorkingDir = over.WorkingDir
	}
	if over.StopSignal != "" {
		c.StopSignal = over.StopSignal
	}
	if len(over.Entrypoint) > 0 {
		c.Entrypoint, c.Cmd = over.Entrypoint, nil
	}
	if len(over.Cmd) > 0 {
		c.Cmd = over.Cmd
	}
	if over.Healthcheck != nil {
		c.Healthcheck = over.Healthcheck
	}
	if len(over.Shell) > 0 {
		c.Shell = over.Shell
	}
	if len(over.OnBuild) > 0 {
		c.OnBuild = over.OnBuild
	}
	c.Env = mergeEnv(c.Env, over.Env)
	c.Labels = union(c.Labels, over.Labels)
	c.Volumes = union(c.Volumes, over.Volumes)
	c.ExposedPorts = union(c.ExposedPorts, over.ExposedPorts)
	return c
}

// union never changes a, which the container's record shares.
func union[M ~map[K]V, K comparable, V any](a, b M) M {
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(a)
	if out == nil {
		out = M{}
	}
	maps.Copy(out, b)
	return out
}

func mergeEnv(have, set []string) []string {
	out := append([]string(nil), have...)
	for _, entry := range set {
		name, _, _ := strings.Cut(entry, "=")
		i := slices.IndexFunc(out, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if i < 0 {
			out = append(out, entry)
		} else {
			out[i] = entry
		}
	}
	return out
}
