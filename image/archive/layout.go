package archive

import (
	"encoding/json"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
)

// maxIndexDepth bounds indexes of indexes.
const maxIndexDepth = 4

// layout loads the images of an OCI layout.
func (l *loader) layout() error {
	raw, err := l.document(ocispec.ImageIndexFile)
	if err != nil {
		return err
	}
	seen := 0
	if err := l.index(ocispec.ImageIndexFile, raw, nil, 0, &seen); err != nil {
		return err
	}
	return l.anything()
}

// index walks an index. names are those that the descriptor above gave it.
func (l *loader) index(file string, raw []byte, names []string, depth int, seen *int) error {
	if depth > maxIndexDepth {
		return fault.New(fault.Invalid, "invalid archive: indexes are nested more than %d deep", maxIndexDepth)
	}
	if err := unambiguous(file, raw); err != nil {
		return err
	}
	var index ocispec.Index
	if err := decode(file, raw, &index); err != nil {
		return err
	}
	for _, d := range index.Manifests {
		if *seen++; *seen > maxImages {
			return fault.New(fault.Invalid, "invalid archive: it has more than %d manifests", maxImages)
		}
		of := names
		if own := nameOf(d); own != "" {
			of = []string{own}
		}
		if err := l.manifest(d, of, depth, seen); err != nil {
			return err
		}
	}
	return nil
}

// nameOf is the name that a descriptor's annotations give, in the forms of
// containerd and of skopeo; a tag alone is no name.
func nameOf(d ocispec.Descriptor) string {
	if name := d.Annotations[nameKey]; name != "" {
		return name
	}
	name := d.Annotations[ocispec.AnnotationRefName]
	if !strings.ContainsAny(name, ":/") {
		return ""
	}
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return ""
	}
	return name
}

func (l *loader) manifest(d ocispec.Descriptor, names []string, depth int, seen *int) error {
	raw, err := l.blob(d)
	if err != nil {
		return err
	}
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, listMediaType:
		return l.index(d.Digest.String(), raw, names, depth+1, seen)
	case ocispec.MediaTypeImageManifest, manifestMediaType:
	default:
		return nil // an artifact that is no image, such as a signature
	}
	if d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
		return nil
	}
	if err := unambiguous(d.Digest.String(), raw); err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := decode(d.Digest.String(), raw, &m); err != nil {
		return err
	}
	if m.MediaType != "" && m.MediaType != d.MediaType {
		return fault.New(fault.Invalid, "invalid archive: manifest %s says that it is of type %q, and its descriptor %q", d.Digest, m.MediaType, d.MediaType)
	}
	config, err := l.blob(m.Config)
	if err != nil {
		return err
	}
	in := &incoming{config: config, id: m.Config.Digest, tags: names, document: raw}
	for _, layer := range m.Layers {
		if err := l.verify(layer); err != nil {
			return err
		}
		in.layers = append(in.layers, blobPath(layer.Digest))
	}
	return l.image(in)
}

// unambiguous refuses documents that are an index to one reader and a manifest to
// another (CVE-2021-41190).
func unambiguous(file string, raw []byte) error {
	var both struct{ Manifests, Layers, Config json.RawMessage }
	if err := decode(file, raw, &both); err != nil {
		return err
	}
	if both.Manifests != nil && (both.Layers != nil || both.Config != nil) {
		return fault.New(fault.Invalid, "invalid archive: %s is both an index and a manifest", file)
	}
	return nil
}

func blobPath(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// blob reads a document of the archive and verifies it.
func (l *loader) blob(d ocispec.Descriptor) ([]byte, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	raw, err := l.document(blobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != d.Size {
		return nil, wrongSize(d, int64(len(raw)))
	}
	if got := digest.FromBytes(raw); got != d.Digest {
		return nil, wrongDigest(d.Digest, got)
	}
	return raw, nil
}

// verify compares a layer with its descriptor.
func (l *loader) verify(d ocispec.Descriptor) error {
	if err := checkDigest(d.Digest); err != nil {
		return err
	}
	f, err := l.find(blobPath(d.Digest))
	if err != nil {
		return err
	}
	if f.size != d.Size {
		return wrongSize(d, f.size)
	}
	if f.path != "" { // it looks like no layer: what is wrong is told when it is unpacked
		raw, err := l.document(blobPath(d.Digest))
		if err != nil {
			return err
		}
		f.digest = digest.FromBytes(raw)
	}
	if f.err != nil {
		return f.err
	}
	if f.digest != d.Digest {
		return wrongDigest(d.Digest, f.digest)
	}
	return l.ctx.Err()
}

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fault.New(fault.Invalid, "invalid archive: %q is not a sha256 digest", d.String())
	}
	return nil
}

func wrongSize(d ocispec.Descriptor, got int64) error {
	return fault.New(fault.Invalid, "invalid archive: blob %s has %d bytes, and its descriptor says %d", d.Digest, got, d.Size)
}

func wrongDigest(want, got digest.Digest) error {
	return fault.New(fault.Invalid, "invalid archive: a blob does not have its digest: expected %s, got %s", want, got)
}
