package image

import (
	"encoding/json"
	"net/http"

	"github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

var platformSince = server.V(1, 49)

func (r routes) inspect(c *server.Call) error {
	answer, err := r.images.Inspect(c.Context(), c.Name)
	if err != nil {
		return err
	}
	if text := c.Query("platform"); text != "" && c.Version >= platformSince {
		if c.Bool("manifests") {
			return fault.New(fault.Invalid, "conflicting options: manifests and platform options cannot both be set")
		}
		var want v1.Platform
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			return fault.New(fault.Invalid, "failed to parse platform: %w", err)
		}
		if want.OS != answer.Os || want.Architecture != answer.Architecture || want.Variant != "" && want.Variant != answer.Variant {
			return fault.New(fault.NotFound, "image %s was found but is for %s/%s, not for %s/%s", c.Name, answer.Os, answer.Architecture, want.OS, want.Architecture)
		}
	}
	return c.JSON(http.StatusOK, compat.Image(c.Version, answer))
}
