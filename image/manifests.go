package image

import (
	"github.com/moby/moby/api/types/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/state"
)

// manifestsOf describes the one platform of an image as clients show it: what its
// blobs take and what its files take.
func (s *Service) manifestsOf(tx *state.Tx, img *Image) ([]image.ManifestSummary, error) {
	m := image.ManifestSummary{ID: img.ID.String(), Available: true, Kind: image.ManifestKindImage}
	m.Descriptor = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: img.ID}
	for _, d := range img.record.Manifests {
		if size, err := s.blobs.Stat(d); err == nil {
			m.ID, m.Descriptor.Digest, m.Descriptor.Size = d.String(), d, size
			m.Size.Content += size
		}
	}
	if size, err := s.blobs.Stat(img.ID); err == nil {
		m.Size.Content += size
	}
	for _, l := range img.record.Layers {
		list, err := layerBlobs(tx, l)
		if err != nil {
			return nil, err
		}
		for _, b := range list {
			m.Size.Content += b.Size
		}
	}
	m.ImageData = &image.ImageProperties{Platform: img.Config.Platform, Containers: []string{}}
	for _, c := range s.users(img.ID) {
		m.ImageData.Containers = append(m.ImageData.Containers, c.ID)
	}
	m.ImageData.Size.Unpacked = img.Size
	m.Size.Total = m.Size.Content + img.Size
	return []image.ManifestSummary{m}, nil
}
