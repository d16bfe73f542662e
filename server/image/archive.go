package image

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image/archive"
	"github.com/sampan-containers/sampan/server"
)

// archivePlatformSince is the version in which load and get took platforms, and
// severalSince that in which they took more than one.
var (
	archivePlatformSince = server.V(1, 48)
	severalSince         = server.V(1, 52)
)

func platforms(c *server.Call) ([]v1.Platform, error) {
	if c.Version < archivePlatformSince {
		return nil, nil
	}
	texts := c.Queries()["platform"]
	if len(texts) > 1 && c.Version < severalSince {
		return nil, fault.New(fault.Invalid, "multiple platform parameters not supported")
	}
	var out []v1.Platform
	for _, text := range texts {
		var p v1.Platform
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return nil, fault.New(fault.Invalid, "failed to parse platform: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (r routes) loadArchive(c *server.Call) error {
	want, err := platforms(c)
	if err != nil {
		return err
	}
	quiet := c.Query("quiet") == "" || c.Bool("quiet")
	if !quiet {
		// Progress goes out while the archive comes in. HTTP/2 does so anyway.
		_ = http.NewResponseController(c.W).EnableFullDuplex()
	}
	out := c.StreamWriter("application/json")
	defer out.Close()
	err = r.archives.Load(c.Context(), c.Body, archive.LoadOptions{Quiet: quiet, Platforms: want}, out)
	if err == nil {
		out.Start()
		return nil
	}
	if !out.Started() {
		return err
	}
	return json.NewEncoder(out).Encode(streamError{Detail: errorDetail{err.Error()}, Error: err.Error()})
}

func (r routes) saveSeveral(c *server.Call) error { return r.save(c, c.Queries()["names"]) }

func (r routes) saveOne(c *server.Call) error { return r.save(c, []string{c.Name}) }

func (r routes) save(c *server.Call, names []string) error {
	want, err := platforms(c)
	if err != nil {
		return err
	}
	ctx, cancel := c.Stream()
	defer cancel()
	return c.Download("application/x-tar", func(begin func() io.Writer) error {
		return r.archives.Save(ctx, names, want, begin)
	})
}
