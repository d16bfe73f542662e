package image

import (
	"encoding/json"

	"github.com/moby/moby/api/types/registry"
	"github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/server"
)

// pushPlatformSince is the version in which a push got a platform.
var pushPlatformSince = server.V(1, 46)

func (r routes) push(c *server.Call) error {
	o := transfer.PushOptions{Tag: c.Query("tag"), Alone: c.Version < pushPlatformSince}
	if text := c.Query("platform"); text != "" && c.Version >= pushPlatformSince {
		var p v1.Platform
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return fault.New(fault.Invalid, "failed to parse platform: %w", err)
		}
		o.Platform = p.OS + "/" + p.Architecture
		if p.Variant != "" {
			o.Platform += "/" + p.Variant
		}
	}
	var err error
	if o.Login, err = auth.ParseHeader(c.Header.Get(registry.AuthHeader)); err != nil {
		return err
	}
	out := c.StreamWriter("application/json")
	defer out.Close()
	return endStream(out, r.transfers.Push(c.Context(), c.Name, o, out))
}
