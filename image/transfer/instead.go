package transfer

import (
	"encoding/json"

	"github.com/moby/moby/api/types/auxprogress"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/registry/client"
)

// insteadOf tells a client that one platform's manifest was pushed where the image
// had come from an index, whose other platforms are not here. Docker's daemon sends
// the same note when its store lacks them.
func (p *pusher) insteadOf(pushed *plan) error {
	d := digest.FromBytes(pushed.raw)
	for _, known := range p.img.Manifests() {
		raw, err := p.s.images.Blobs().Read(known, client.MaxManifest)
		if err != nil {
			continue // the push needed no index
		}
		kind, err := client.Kind(raw)
		if err != nil || kind != ocispec.MediaTypeImageIndex && kind != client.MediaTypeDockerList {
			continue
		}
		var index ocispec.Index
		if json.Unmarshal(raw, &index) != nil || len(index.Manifests) < 2 {
			continue
		}
		for _, m := range index.Manifests {
			if m.Digest != d {
				continue
			}
			note, err := json.Marshal(auxprogress.ManifestPushedInsteadOfIndex{
				ManifestPushedInsteadOfIndex: true,
				OriginalIndex:                ocispec.Descriptor{MediaType: kind, Digest: known, Size: int64(len(raw))},
				SelectedManifest:             m,
			})
			if err != nil {
				return err
			}
			aux := json.RawMessage(note)
			return p.out.message(jsonstream.Message{Aux: &aux})
		}
	}
	return nil
}
