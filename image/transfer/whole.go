package transfer

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/registry/client"
)

// An image that came from an index leaves with it, and so with its digest, once the
// images of all other entries are here, too: each platform is pulled by itself. With
// fewer, one platform's manifest is pushed and insteadOf says so.

// index is an index that an image came from.
type index struct {
	described
	list []ocispec.Descriptor
}

// readIndex returns nil unless the blob is an index that lists the image.
func (p *pusher) readIndex(d digest.Digest) *index {
	raw, err := p.s.images.Blobs().Read(d, client.MaxManifest)
	if err != nil {
		return nil // the push can do without
	}
	kind, err := client.Kind(raw)
	if err != nil || kind != ocispec.MediaTypeImageIndex && kind != client.MediaTypeDockerList {
		return nil
	}
	var content ocispec.Index
	if json.Unmarshal(raw, &content) != nil || len(content.Manifests) > maxEntries {
		return nil
	}
	if !slices.ContainsFunc(content.Manifests, func(m ocispec.Descriptor) bool { return slices.Contains(p.img.Manifests(), m.Digest) }) {
		return nil
	}
	return &index{described{ocispec.Descriptor{MediaType: kind, Digest: d, Size: int64(len(raw))}, raw}, content.Manifests}
}

// whole returns the index to push instead of the image's manifest, and a push of each
// of its images; nil if one of them is not here or the manifest is what came last.
func (p *pusher) whole() (*index, []*pusher) {
	for _, known := range p.img.Manifests() { // the newest first
		if p.asItCame(known) != nil {
			return nil, nil
		}
		idx := p.readIndex(known)
		if idx == nil {
			continue
		}
		var members []*pusher
		for _, m := range idx.list {
			one := p.member(m)
			if one == nil {
				members = nil
				break
			}
			members = append(members, one)
		}
		if len(members) > 0 {
			return idx, members
		}
	}
	return nil, nil
}

// member is the push of one image of an index, as it came, or nil if it is not here.
func (p *pusher) member(d ocispec.Descriptor) *pusher {
	raw, err := p.s.images.Blobs().Read(d.Digest, client.MaxManifest)
	if err != nil {
		return nil
	}
	m, err := parseManifest(described{d, raw})
	if err != nil {
		return nil // such as an index in the index
	}
	img, err := p.s.images.Get(p.ctx, m.Config.Digest.String())
	if err != nil {
		return nil
	}
	one := &pusher{s: p.s, ctx: p.ctx, ref: p.ref, img: img, to: p.to, out: p.out, login: p.login, exactly: d.Digest}
	if one.asItCame(d.Digest) == nil {
		return nil
	}
	return one
}

// sibling finds the image of another platform that the tag's index lists and that is here.
func (p *pusher) sibling(want ocispec.Platform) *image.Image {
	for _, known := range p.img.Manifests() {
		idx := p.readIndex(known)
		if idx == nil {
			continue
		}
		if d, err := choose(idx.list, want); err == nil {
			if one := p.member(d); one != nil {
				return one.img
			}
		}
	}
	return nil
}

// sendIndex pushes the images of an index and then itself. errGone says that one of
// them cannot leave as it came.
func (p *pusher) sendIndex(idx *index, members []*pusher) error {
	// All are held together, so that none goes while another one travels.
	blobs, layers := []digest.Digest{idx.desc.Digest}, []digest.Digest(nil)
	for _, one := range members {
		blobs = append(append(blobs, one.img.ID), one.img.Manifests()...)
		layers = append(layers, one.img.Config.RootFS.DiffIDs...)
	}
	lease, err := p.s.images.Leases().Take("push "+p.ref.String(), blobs, layers)
	if err != nil {
		return err
	}
	defer p.end(lease)
	sent := map[digest.Digest]bool{}
	for _, one := range members {
		if sent[one.exactly] {
			continue
		}
		sent[one.exactly] = true
		if _, err := one.send(one.exactly.String()); err != nil {
			return err
		}
	}
	if err := p.putManifest(p.tag(), idx.desc.MediaType, idx.raw); err != nil {
		return err
	}
	return p.announce(idx.raw)
}

// asWanted is the plan of a push that may send nothing but one manifest.
func (p *pusher) asWanted() (*plan, error) {
	plan := p.asItCame(p.exactly)
	if plan == nil {
		return nil, errGone
	}
	raw, err := p.s.images.Blobs().Read(p.img.ID, maxConfig)
	if err != nil {
		return nil, errors.Join(errGone, err)
	}
	plan.configRaw = raw
	return plan, nil
}
