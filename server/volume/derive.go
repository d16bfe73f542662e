package volume

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/volume"
)

// Deriver is what the routes beyond Docker's need; *volume.Local is one.
type Deriver interface {
	Rename(from, to string, inUse func(name string) bool) error
	Clone(ctx context.Context, from string, v volume.Volume) error
	Export(ctx context.Context, name string, begin func() io.Writer) error
	Import(ctx context.Context, v volume.Volume, r io.Reader) error
}

// registerDerived adds the routes that Docker has not; docs/api.md describes them.
func (r routes) registerDerived(s *server.Server) {
	s.Handle("POST /volumes/{name}/rename", r.rename)
	s.Handle("POST /volumes/{name}/clone", r.clone)
	s.Handle("GET /volumes/{name}/archive", r.export)
	s.Handle("PUT /volumes/{name}/archive", r.importArchive)
}

func (r routes) rename(c *server.Call) error {
	to := c.Query("name")
	if to == "" {
		return fault.New(fault.Invalid, "rename volume %s: the parameter name, for the new name, is missing", c.Name)
	}
	if err := r.volumes.Rename(c.Name, to, r.used); err != nil {
		return err
	}
	r.publish(events.ActionRename, to, map[string]string{"driver": volume.LocalDriver, "oldName": c.Name})
	return c.NoContent()
}

// cloneRequest is the body of a clone.
type cloneRequest struct {
	Name   string
	Labels map[string]string
}

func (r routes) clone(c *server.Call) error {
	var body cloneRequest
	if err := c.DecodeRequired(&body); err != nil {
		return err
	}
	if body.Name == "" {
		return fault.New(fault.Invalid, "clone volume %s: the field Name, for the new volume, is missing", c.Name)
	}
	if err := r.volumes.Clone(c.Context(), c.Name, volume.Volume{Name: body.Name, Labels: body.Labels}); err != nil {
		return err
	}
	return r.made(c, body.Name)
}

func (r routes) export(c *server.Call) error {
	return c.Download("application/x-tar", func(begin func() io.Writer) error {
		return r.volumes.Export(c.Context(), c.Name, begin)
	})
}

// importWait is how long a client that imports may send nothing.
const importWait = 5 * time.Minute

func (r routes) importArchive(c *server.Call) error {
	v := volume.Volume{Name: c.Name}
	for _, l := range c.Queries()["label"] {
		if v.Labels == nil {
			v.Labels = map[string]string{}
		}
		key, value, _ := strings.Cut(l, "=")
		v.Labels[key] = value
	}
	if err := r.volumes.Import(c.Context(), v, &patient{c: c}); err != nil {
		return err
	}
	return r.made(c, v.Name)
}

// patient reads a body of any length, and gives up on a client that stalls.
type patient struct{ c *server.Call }

func (p *patient) Read(b []byte) (int, error) {
	// Recorders in tests have no deadlines; on a real connection this cannot fail.
	_ = http.NewResponseController(p.c.W).SetReadDeadline(time.Now().Add(importWait))
	return p.c.Body.Read(b)
}

// made answers with a new volume, and tells of it.
func (r routes) made(c *server.Call, name string) error {
	r.publish(events.ActionCreate, name, map[string]string{"driver": volume.LocalDriver})
	v, err := r.volumes.Get(name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, View(v, r.volumes.Path(name)))
}
