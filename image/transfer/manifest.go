package transfer

import (
	"encoding/json"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/client"
)

// layerTypes are the media types that a layer may have. How it is compressed is
// told by its first bytes, and that they are right by its diffID.
var layerTypes = map[string]bool{
	client.MediaTypeDockerLayer:                                    true,
	client.MediaTypeDockerForeign:                                  true,
	"application/vnd.docker.image.rootfs.diff.tar":                 true,
	"application/vnd.docker.image.rootfs.diff.tar.zstd":            true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar":         true,
	ocispec.MediaTypeImageLayer:                                    true,
	ocispec.MediaTypeImageLayerGzip:                                true,
	ocispec.MediaTypeImageLayerZstd:                                true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
}

// pick returns the entry of an index for a platform; isIndex is false for the
// manifest of one image.
func pick(d described, want ocispec.Platform) (child ocispec.Descriptor, isIndex bool, err error) {
	switch d.desc.MediaType {
	case ocispec.MediaTypeImageIndex, client.MediaTypeDockerList:
	default:
		return child, false, nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(d.raw, &index); err != nil {
		return child, true, fault.New(fault.Invalid, "index %s is not valid: %w", d.desc.Digest, err)
	}
	if len(index.Manifests) > maxEntries {
		return child, true, fault.New(fault.Invalid, "index %s has %d entries, more than the limit of %d", d.desc.Digest, len(index.Manifests), maxEntries)
	}
	child, err = choose(index.Manifests, want)
	if err == nil {
		err = checkDescriptor(child)
	}
	return child, true, err
}

func checkDescriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil || d.Digest.Algorithm() != digest.SHA256 {
		return fault.New(fault.Invalid, "the registry's manifest has %q, which is not a sha256 digest", string(d.Digest))
	}
	if d.Size < 0 {
		return fault.New(fault.Invalid, "the registry's manifest says that %s has %d bytes", d.Digest, d.Size)
	}
	return nil
}

// parseManifest reads the manifest of one image.
func parseManifest(d described) (*ocispec.Manifest, error) {
	m := new(ocispec.Manifest)
	if err := json.Unmarshal(d.raw, m); err != nil {
		return nil, fault.New(fault.Invalid, "manifest %s is not valid: %w", d.desc.Digest, err)
	}
	if m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != client.MediaTypeDockerConfig {
		return nil, fault.New(fault.Invalid, "this is no image of a container but an artifact whose config is of type %q", m.Config.MediaType)
	}
	if len(m.Layers) == 0 || len(m.Layers) > maxLayers {
		return nil, fault.New(fault.Invalid, "manifest %s has %d layers; an image has 1 to %d", d.desc.Digest, len(m.Layers), maxLayers)
	}
	for _, l := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if err := checkDescriptor(l); err != nil {
			return nil, err
		}
	}
	for _, l := range m.Layers {
		if !layerTypes[l.MediaType] {
			return nil, fault.New(fault.Invalid, "layer %s is of type %q, which Sampan cannot unpack", cut(l.Digest), l.MediaType)
		}
	}
	return m, nil
}

func parseConfig(raw []byte) (*dockerspec.DockerOCIImage, error) {
	cfg := new(dockerspec.DockerOCIImage)
	if err := json.Unmarshal(raw, cfg); err != nil {
		return nil, fault.New(fault.Invalid, "the image's config is not valid: %w", err)
	}
	if cfg.OS != "" && cfg.OS != "linux" {
		return nil, fault.New(fault.Invalid, "image operating system %q cannot be used on this platform", cfg.OS)
	}
	for _, d := range cfg.RootFS.DiffIDs {
		if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
			return nil, fault.New(fault.Invalid, "the image's config has the diffID %q, which is not a sha256 digest", string(d))
		}
	}
	return cfg, nil
}
