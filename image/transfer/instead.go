package transfer

import (
	"encoding/json"

	"github.com/moby/moby/api/types/auxprogress"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
)

// insteadOf tells a client that one platform's manifest was pushed where the image
// had come from an index, whose other platforms are not here. Docker's daemon sends
// the same note when its store lacks them.
func (p *pusher) insteadOf(pushed *plan) error {
	d := digest.FromBytes(pushed.raw)
	for _, known := range p.img.Manifests() {
		idx := p.readIndex(known)
		if idx == nil || len(idx.list) < 2 {
			continue
		}
		for _, m := range idx.list {
			if m.Digest != d {
				continue
			}
			note, err := json.Marshal(auxprogress.ManifestPushedInsteadOfIndex{
				ManifestPushedInsteadOfIndex: true,
				OriginalIndex:                idx.desc,
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
