package container

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/layer"
	"github.com/sampan-containers/sampan/server"
)

// statHeader carries the description of a path, as JSON in base64.
const statHeader = "X-Docker-Container-Path-Stat"

// ownerSince is the version in which PUT got copyUIDGID.
var ownerSince = server.V(1, 29)

func pathOf(c *server.Call) (string, error) {
	if p := c.Query("path"); p != "" {
		return p, nil
	}
	return "", fault.New(fault.Invalid, "missing parameter in path or query: path cannot be empty")
}

func describe(c *server.Call, st *api.PathStat) error {
	raw, err := json.Marshal(st)
	if err != nil {
		return err
	}
	c.W.Header().Set(statHeader, base64.StdEncoding.EncodeToString(raw))
	return nil
}

func (r routes) statPath(c *server.Call) error {
	p, err := pathOf(c)
	if err != nil {
		return err
	}
	st, err := r.containers.StatPath(c.Context(), c.Name, p)
	if err != nil {
		return err
	}
	if err := describe(c, st); err != nil {
		return err
	}
	c.W.WriteHeader(http.StatusOK)
	return nil
}

func (r routes) getArchive(c *server.Call) error {
	p, err := pathOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := c.Stream()
	defer cancel()
	return c.Download("application/x-tar", func(begin func() io.Writer) error {
		return r.containers.ArchivePath(ctx, c.Name, p, func(st *api.PathStat) io.Writer {
			// A PathStat always encodes.
			_ = describe(c, st)
			return begin()
		})
	})
}

func (r routes) putArchive(c *server.Call) error {
	p, err := pathOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := c.Stream()
	defer cancel()
	plain, stop := layer.Decompress(ctx, c.Body)
	defer stop()
	err = r.containers.ExtractToDir(ctx, c.Name, p, plain, container.ExtractOptions{
		NoOverwriteDirNonDir: c.Bool("noOverwriteDirNonDir"), CopyUIDGID: c.Version >= ownerSince && c.Bool("copyUIDGID"),
	})
	if err != nil {
		return err
	}
	c.W.WriteHeader(http.StatusOK)
	return nil
}

func (r routes) changes(c *server.Call) error {
	list, err := r.containers.Changes(c.Context(), c.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list)
}

func (r routes) export(c *server.Call) error {
	ctx, cancel := c.Stream()
	defer cancel()
	return c.Download("application/octet-stream", func(begin func() io.Writer) error {
		return r.containers.Export(ctx, c.Name, begin)
	})
}
