package image

import (
	"context"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/storage"
)

// driverName is the name by which Docker's users and tools know the overlay driver.
const driverName = "overlay2"

// Inspect answers images/{name}/json.
func (s *Service) Inspect(ctx context.Context, ref string) (*image.InspectResponse, error) {
	img, err := s.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	lowers, err := s.Lowers(img)
	if err != nil {
		return nil, err
	}
	data := map[string]string{"UpperDir": lowers[0]}
	if len(lowers) > 1 {
		data["LowerDir"] = strings.Join(lowers[1:], ":")
	}
	cfg := img.Config
	r := &image.InspectResponse{
		ID:           img.ID.String(),
		RepoTags:     img.RepoTags,
		RepoDigests:  img.RepoDigests,
		Author:       cfg.Author,
		Config:       &cfg.Config,
		Architecture: cfg.Architecture,
		Variant:      cfg.Variant,
		Os:           cfg.OS,
		OsVersion:    cfg.OSVersion,
		Size:         img.Size,
		GraphDriver:  &storage.DriverData{Name: driverName, Data: data},
		RootFS:       image.RootFS{Type: cfg.RootFS.Type},
		Metadata:     image.Metadata{LastTagTime: img.record.Tagged},
	}
	if !img.Created.IsZero() {
		r.Created = img.Created.Format(time.RFC3339Nano)
	}
	if n := len(cfg.History); n > 0 {
		r.Comment = cfg.History[n-1].Comment
	}
	for _, id := range cfg.RootFS.DiffIDs {
		r.RootFS.Layers = append(r.RootFS.Layers, id.String())
	}
	return r, nil
}
