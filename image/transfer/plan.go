package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/client"
)

const (
	// maxLayer bounds a compressed layer that is made here.
	maxLayer = 1 << 40
	// packBlock and packBlocks are how a layer is cut for compression on several
	// cores. The digest depends on the block's size, so it must never change.
	packBlock  = 1 << 20
	packBlocks = 4
)

// plan is what a push sends.
type plan struct {
	raw       []byte // the manifest
	mediaType string
	config    ocispec.Descriptor
	configRaw []byte
	layers    []layerPlan
}

// made is a compressed layer and what it unpacks to.
type made struct {
	blob   ocispec.Descriptor
	diffID digest.Digest
	absent bool
}

type layerPlan struct {
	diffID digest.Digest
	blob   ocispec.Descriptor
	absent bool // not in the blob store, see DroppedBlobs
}

// plan takes the manifest that the image came with, if all of it is still here,
// and makes one otherwise.
func (p *pusher) plan(parts map[digest.Digest]*part) (*plan, error) {
	if p.exactly != "" {
		return p.asWanted()
	}
	raw, err := p.s.images.Blobs().Read(p.img.ID, maxConfig)
	if err != nil {
		return nil, err
	}
	for _, known := range p.img.Manifests() { // the newest first
		if plan := p.asItCame(known); plan != nil {
			plan.configRaw = raw
			return plan, nil
		}
	}
	return p.compose(raw, parts)
}

// asItCame reads a manifest and returns nil unless it is this image's and every
// layer it names is in the blob store, or was dropped.
func (p *pusher) asItCame(d digest.Digest) *plan {
	raw, err := p.s.images.Blobs().Read(d, client.MaxManifest)
	if err != nil {
		return nil
	}
	kind, err := client.Kind(raw)
	if err != nil {
		// OCI manifests need not name their type.
		kind = ocispec.MediaTypeImageManifest
	}
	var m ocispec.Manifest
	diffIDs := p.img.Config.RootFS.DiffIDs
	if json.Unmarshal(raw, &m) != nil || m.Config.Digest != p.img.ID || len(m.Layers) != len(diffIDs) {
		return nil
	}
	out := &plan{raw: raw, mediaType: kind, config: m.Config}
	for i, l := range m.Layers {
		size, err := p.s.images.Blobs().Stat(l.Digest)
		here := err == nil && size == l.Size
		if !here && !p.dropped(diffIDs[i], l) {
			return nil
		}
		out.layers = append(out.layers, layerPlan{diffIDs[i], l, !here})
	}
	return out
}

// compose makes a manifest: of Docker's schema 2, which every registry and
// client knows, or OCI's if a layer is compressed as only that allows.
func (p *pusher) compose(config []byte, parts map[digest.Digest]*part) (*plan, error) {
	out := &plan{mediaType: client.MediaTypeDockerManifest, configRaw: config}
	var diffIDs []digest.Digest
	for _, id := range p.img.Config.RootFS.DiffIDs {
		one, err := p.compressed(id, parts[id])
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", cut(id), err)
		}
		if dockerType(one.blob.MediaType) == "" {
			out.mediaType = ocispec.MediaTypeImageManifest
		}
		out.layers = append(out.layers, layerPlan{id, one.blob, one.absent})
		diffIDs = append(diffIDs, one.diffID)
	}
	if !slices.Equal(diffIDs, p.img.Config.RootFS.DiffIDs) {
		var err error
		if out.configRaw, err = withLayers(config, diffIDs); err != nil {
			return nil, err
		}
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: out.mediaType}
	configType := client.MediaTypeDockerConfig
	if out.mediaType == ocispec.MediaTypeImageManifest {
		configType = ocispec.MediaTypeImageConfig
	}
	m.Config = ocispec.Descriptor{MediaType: configType, Digest: digest.FromBytes(out.configRaw), Size: int64(len(out.configRaw))}
	for i := range out.layers {
		blob := &out.layers[i].blob
		if out.mediaType == client.MediaTypeDockerManifest {
			blob.MediaType = dockerType(blob.MediaType)
		} else {
			blob.MediaType = ociType(blob.MediaType)
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest, Size: blob.Size})
	}
	out.config = m.Config
	var err error
	out.raw, err = json.MarshalIndent(m, "", "   ")
	return out, err
}

// compressed returns the blob of a layer: one that is kept, or else one that is
// made now and kept.
func (p *pusher) compressed(id digest.Digest, show *part) (made, error) {
	list, err := p.s.images.LayerBlobs(id)
	if err != nil {
		return made{}, err
	}
	for _, d := range list {
		if size, err := p.s.images.Blobs().Stat(d.Digest); err == nil && size == d.Size {
			return made{blob: d, diffID: id}, nil
		}
	}
	if list, err = p.s.images.DroppedBlobs(id); err != nil {
		return made{}, err
	}
	if len(list) > 0 && !p.repack {
		return made{blob: list[len(list)-1], diffID: id, absent: true}, nil
	}
	show.say("Compressing")
	r, w := io.Pipe()
	plain := make(chan digest.Digest, 1)
	go func() {
		got, err := p.pack(p.ctx, id, w)
		plain <- got
		w.CloseWithError(err)
	}()
	d, size, err := p.s.images.Blobs().Put(p.ctx, r, "", maxLayer)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // ends the packing if Put gave up
	got := <-plain
	if err != nil {
		return made{}, err
	}
	blob := ocispec.Descriptor{MediaType: client.MediaTypeDockerLayer, Digest: d, Size: size}
	if got != id || p.s.dropBlobs {
		return p.foreign(blob, got), nil
	}
	return made{blob: blob, diffID: id}, p.s.images.KeepLayerBlob(id, blob)
}

// foreign holds, until the push ends, a blob that is not kept: of a layer whose own
// tar cannot be made again, or of any where blobs are dropped.
func (p *pusher) foreign(blob ocispec.Descriptor, diffID digest.Digest) made {
	if p.s.images.Blobs().Hold(blob.Digest) {
		p.held = append(p.held, blob.Digest)
	}
	return made{blob: blob, diffID: diffID}
}

// withLayers replaces the diffIDs of a config and leaves all else as it is.
func withLayers(raw []byte, diffIDs []digest.Digest) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fault.New(fault.Invalid, "the image's config is not valid: %w", err)
	}
	rootfs, err := json.Marshal(ocispec.RootFS{Type: "layers", DiffIDs: diffIDs})
	if err != nil {
		return nil, err
	}
	fields["rootfs"] = rootfs
	return json.Marshal(fields)
}

// pack writes a layer's tar compressed and returns its diffID: the tar that it
// came from, or one of its files if that cannot be made again.
func (p *pusher) pack(ctx context.Context, id digest.Digest, w io.Writer) (digest.Digest, error) {
	z := pgzip.NewWriter(w)
	if err := z.SetConcurrency(packBlock, packBlocks); err != nil {
		return "", err
	}
	sum := digest.SHA256.Digester()
	out := io.MultiWriter(z, sum.Hash())
	err := p.s.images.Layers().Tar(ctx, id, out)
	if errors.Is(err, fault.NotImplemented) { // nothing was written
		err = p.s.images.Layers().Pack(ctx, id, out)
	}
	if err != nil {
		return "", errors.Join(err, z.Close())
	}
	return sum.Digest(), z.Close()
}

// dockerType is the type of a layer in a manifest of Docker's schema 2, or "".
func dockerType(media string) string {
	switch media {
	case client.MediaTypeDockerLayer, ocispec.MediaTypeImageLayerGzip:
		return client.MediaTypeDockerLayer
	case "application/vnd.docker.image.rootfs.diff.tar", ocispec.MediaTypeImageLayer:
		return "application/vnd.docker.image.rootfs.diff.tar"
	}
	return ""
}

func ociType(media string) string {
	switch media {
	case client.MediaTypeDockerLayer:
		return ocispec.MediaTypeImageLayerGzip
	case "application/vnd.docker.image.rootfs.diff.tar":
		return ocispec.MediaTypeImageLayer
	case "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return ocispec.MediaTypeImageLayerZstd
	}
	return media
}
