package transfer

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/client"
)

// FuzzDocuments: an index, a manifest and a config of a registry are refused as
// invalid, or what comes of them is safe to use: digests, sizes and diffIDs.
func FuzzDocuments(f *testing.F) {
	d := digest.FromString("x").String()
	for _, seed := range []string{
		`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + d + `","size":2,"platform":{"os":"linux","architecture":"amd64"}}]}`,
		`{"manifests":[{"digest":"sha256:../../x","size":-1}]}`,
		`{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + d + `","size":9},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + d + `","size":1}]}`,
		`{"layers":null,"config":[]}`,
		`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + d + `"]},"config":{"Env":["=","A"]}}`,
		`{"rootfs":{"diff_ids":["sha512:x"]}}`, `null`, `[]`, `{`,
	} {
		f.Add([]byte(seed), 0)
		f.Add([]byte(seed), 1)
	}
	types := []string{ocispec.MediaTypeImageIndex, client.MediaTypeDockerList, ocispec.MediaTypeImageManifest, client.MediaTypeDockerManifest}
	valid := func(t *testing.T, d ocispec.Descriptor) {
		if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 || d.Size < 0 {
			t.Errorf("descriptor %+v was taken", d)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, kind int) {
		doc := described{ocispec.Descriptor{MediaType: types[uint(kind)%uint(len(types))], Digest: digest.FromBytes(raw), Size: int64(len(raw))}, raw}
		child, isIndex, err := pick(doc, ocispec.Platform{OS: "linux", Architecture: "amd64"})
		if isIndex && err == nil {
			valid(t, child)
		}
		if err != nil && !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.NotFound) {
			t.Errorf("index: class of %v", err)
		}
		m, err := parseManifest(doc)
		if err == nil {
			for _, d := range append(m.Layers, m.Config) {
				valid(t, d)
			}
		} else if !errors.Is(err, fault.Invalid) {
			t.Errorf("manifest: class of %v", err)
		}
		cfg, err := parseConfig(raw)
		if err == nil {
			for _, id := range cfg.RootFS.DiffIDs {
				valid(t, ocispec.Descriptor{Digest: id})
			}
		} else if !errors.Is(err, fault.Invalid) {
			t.Errorf("config: class of %v", err)
		}
	})
}
