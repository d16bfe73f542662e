package image

import (
	"encoding/json"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

// removePlatformsSince is the version in which a removal got platforms.
var removePlatformsSince = server.V(1, 50)

func (r routes) remove(c *server.Call) error {
	if strings.TrimSpace(c.Name) == "" {
		return fault.New(fault.Invalid, "image name cannot be blank")
	}
	if err := r.wantPlatforms(c); err != nil {
		return err
	}
	deleted, err := r.images.Delete(c.Context(), c.Name, c.Bool("force"), !c.Bool("noprune"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, deleted)
}

// wantPlatforms refuses to remove an image that is for none of the platforms
// asked for: an image here is for one.
func (r routes) wantPlatforms(c *server.Call) error {
	asked := c.Queries()["platforms"]
	if len(asked) == 0 || c.Version < removePlatformsSince {
		return nil
	}
	img, err := r.images.Inspect(c.Context(), c.Name)
	if err != nil {
		return err
	}
	for _, text := range asked {
		var p ocispec.Platform
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return fault.New(fault.Invalid, "invalid platform %q: want an object such as {\"os\":\"linux\",\"architecture\":\"amd64\"}", text)
		}
		if p.OS == img.Os && p.Architecture == img.Architecture && (p.Variant == "" || p.Variant == img.Variant) {
			return nil
		}
	}
	return fault.New(fault.NotFound, "image %s is for %s/%s, none of the platforms asked for", c.Name, img.Os, img.Architecture)
}
