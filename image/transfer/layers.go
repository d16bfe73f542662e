package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/content"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/layer"
)

func bytesReader(raw []byte) io.Reader { return bytes.NewReader(raw) }

// layerSet is the layers of one pull.
type layerSet struct {
	p       *puller
	order   []digest.Digest // diffIDs as the config has them, bottom first
	blob    map[digest.Digest]ocispec.Descriptor
	flights map[digest.Digest]*flight
	held    []digest.Digest        // layers that were there before
	blobs   []digest.Digest        // held blobs
	shared  map[digest.Digest]bool // flights that another pull began
	report  *reporter
	parts   map[digest.Digest]*part
}

// layers brings all layers and makes them visible, together with the documents of
// the image. What it returns is to be left, also after an error.
func (p *puller) layers(diffIDs []digest.Digest, blobs []ocispec.Descriptor, documents [][]byte) (*layerSet, error) {
	set := &layerSet{p: p, order: diffIDs, blob: map[digest.Digest]ocispec.Descriptor{}, flights: map[digest.Digest]*flight{}, shared: map[digest.Digest]bool{}, parts: map[digest.Digest]*part{}}
	var parts []*part
	var missing []digest.Digest
	for i, id := range diffIDs {
		if _, twice := set.blob[id]; twice {
			continue
		}
		set.blob[id] = blobs[i]
		one := &part{id: cut(blobs[i].Digest), size: blobs[i].Size}
		parts, set.parts[id] = append(parts, one), one
		if p.s.images.Layers().Hold(id) {
			set.held = append(set.held, id)
			if p.s.images.Blobs().Hold(blobs[i].Digest) {
				set.blobs = append(set.blobs, blobs[i].Digest)
			}
			one.enter(skipped)
			continue
		}
		missing = append(missing, id)
	}
	// The largest first: then none is left alone at the end.
	slices.SortStableFunc(missing, func(a, b digest.Digest) int { return int(set.blob[b].Size>>10 - set.blob[a].Size>>10) })
	for _, id := range missing {
		set.join(id, &parts)
	}
	set.report = report(p.out, &pullWords, parts)
	for _, id := range missing {
		if err := set.wait(id); err != nil {
			set.report.stop()
			set.report = nil
			return set, err
		}
	}
	failpoint.Hit("image.pull.publish")
	all := make([]*flight, 0, len(set.flights))
	for _, id := range missing {
		all = append(all, set.flights[id])
	}
	if err := set.publish(all, documents); err != nil {
		return set, fmt.Errorf("keep the layers: %w", err)
	}
	failpoint.Hit("image.pull.published")
	return set, nil
}

// publish makes what has landed visible, and the documents with it.
func (set *layerSet) publish(flights []*flight, documents [][]byte) error {
	blobs := set.p.s.images.Blobs()
	var writers []*content.Writer
	defer func() {
		for _, w := range writers {
			_ = w.Abandon() // those that were not published
		}
	}()
	// In the order of their digests: another pull may be about to write the same.
	slices.SortFunc(documents, func(a, b []byte) int {
		return strings.Compare(digest.FromBytes(a).String(), digest.FromBytes(b).String())
	})
	for _, raw := range documents {
		d := digest.FromBytes(raw)
		if blobs.Hold(d) {
			set.blobs = append(set.blobs, d)
			continue
		}
		w, err := blobs.Begin(set.p.ctx, d, int64(len(raw)))
		if err != nil {
			return err
		}
		if blobs.Hold(d) { // written while we waited
			set.blobs = append(set.blobs, d)
			if err := w.Abandon(); err != nil {
				return err
			}
			continue
		}
		writers = append(writers, w)
		if err := errors.Join(w.Reset(), copyTo(w, raw), w.Finish()); err != nil {
			return err
		}
	}
	if err := set.p.s.publish(flights, writers); err != nil {
		return err
	}
	for _, w := range writers {
		set.blobs = append(set.blobs, w.Digest())
	}
	return nil
}

func copyTo(w io.Writer, raw []byte) error {
	_, err := w.Write(raw)
	return err
}

func (set *layerSet) join(id digest.Digest, parts *[]*part) {
	own := set.parts[id]
	f := set.p.s.join(id, set.blob[id], own, set.p.sources)
	set.flights[id] = f
	if f.part != own { // show how that goes
		set.shared[id] = true
		i := slices.Index(*parts, own)
		(*parts)[i], set.parts[id] = f.part, f.part
	}
}

// wait waits for a layer. A flight that another pull began may have failed for
// reasons of that pull, its login or its mirror: then this one tries itself.
func (set *layerSet) wait(id digest.Digest) error {
	f := set.flights[id]
	err := f.wait(set.p.ctx)
	if err == nil || !set.shared[id] || set.p.ctx.Err() != nil {
		return err
	}
	set.p.s.images.Unhold(f.leave())
	again := set.p.s.join(id, set.blob[id], f.part, set.p.sources)
	set.flights[id] = again
	return again.wait(set.p.ctx)
}

// arrived lists the layers, all of them visible now.
func (set *layerSet) arrived() []image.ArrivedLayer {
	list := make([]image.ArrivedLayer, 0, len(set.order))
	for _, id := range set.order {
		one := image.ArrivedLayer{}
		if f := set.flights[id]; f != nil {
			one.Info = f.staged.Info
			one.Blob, one.Dropped = f.blob, f.dropped
		} else if info, err := set.p.s.images.Layers().Stat(id); err == nil {
			one.Info = info
			if slices.Contains(set.blobs, set.blob[id].Digest) && set.known(id) {
				one.Blob = set.blob[id]
			}
		} else {
			one.Info = &layer.Info{DiffID: id}
		}
		list = append(list, one)
	}
	return list
}

// known tells whether the blob was once verified to unpack to the layer: a
// manifest of somebody else may claim it.
func (set *layerSet) known(id digest.Digest) bool {
	list, err := set.p.s.images.LayerBlobs(id)
	return err == nil && slices.ContainsFunc(list, func(d ocispec.Descriptor) bool { return d.Digest == set.blob[id].Digest })
}

// succeed shows the layers as complete; before, the image did not exist.
func (set *layerSet) succeed() {
	for id := range set.flights {
		set.parts[id].enter(complete)
	}
}

// leave ends the pull's holds.
func (set *layerSet) leave() {
	if set.report != nil {
		set.report.stop()
	}
	layers, blobs := set.held, set.blobs
	for _, f := range set.flights {
		l, b := f.leave()
		layers, blobs = append(layers, l...), append(blobs, b...)
	}
	// All at once: each looks through the records of all images.
	set.p.s.images.Unhold(layers, blobs)
}
