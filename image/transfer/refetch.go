package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/client"
)

// Logins gives the login for a registry, by its name in references.
type Logins func(domain string) auth.Credentials

// Refetch makes a damaged blob or layer whole with what a registry, or a mirror of
// it, has: the images that need it say, by their name@digest, where that may be.
// What comes is verified before it takes the damaged one's place. fault.NotFound says
// that nobody has it any more.
func (s *Service) Refetch(ctx context.Context, d image.Damage, logins Logins) error {
	ctx, done := s.begin(ctx)
	defer done()
	var failed []error
	for _, name := range d.Images {
		o, err := s.images.OriginOf(name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for _, ref := range o.Names {
			for _, src := range s.Client().Repository(ref, logins(reference.Domain(ref))).Sources() {
				err := (&refetch{s, ctx, src, &o, ref.Digest()}).do(d)
				if err == nil || ctx.Err() != nil || errors.Is(err, fault.Exhausted) {
					return err
				}
				failed = append(failed, fmt.Errorf("from %s: %w", src, err))
			}
		}
	}
	if len(failed) == 0 {
		return fault.New(fault.NotFound, "no registry is known to have it; remove the image and get it again")
	}
	for _, err := range failed {
		if fault.Of(err) != fault.NotFound { // it may be there another time
			return fault.Wrap(fault.Unavailable, errors.Join(failed...))
		}
	}
	return fault.Wrap(fault.NotFound, errors.Join(failed...))
}

// refetch is one image's way to one registry.
type refetch struct {
	s   *Service
	ctx context.Context
	src *client.Source
	o   *image.Origin
	top digest.Digest // manifest or index of the image there
}

func (r *refetch) do(d image.Damage) error {
	if d.Kind == image.Layer {
		return r.layer(d.Digest)
	}
	for _, m := range r.o.Manifests {
		if m == d.Digest {
			_, raw, err := r.src.Manifest(r.ctx, d.Digest.String())
			if err != nil {
				return err
			}
			return r.bytes(d.Digest, raw)
		}
	}
	m, err := r.manifest()
	if err != nil {
		return err
	}
	if m.Config.Digest == d.Digest {
		raw, err := r.src.SmallBlob(r.ctx, m.Config, maxConfig)
		if err != nil {
			return err
		}
		return r.bytes(d.Digest, raw)
	}
	for _, l := range m.Layers {
		if l.Digest == d.Digest {
			return r.blob(l, func() error { return nil })
		}
	}
	return fault.New(fault.NotFound, "the image's manifest there does not name it")
}

// manifest is the image's own manifest: one that is here and whole, or the
// registry's.
func (r *refetch) manifest() (*ocispec.Manifest, error) {
	for _, d := range r.o.Manifests {
		if raw, err := r.s.images.Blobs().Read(d, client.MaxManifest); err == nil {
			if m := r.describes(raw); m != nil {
				return m, nil
			}
		}
	}
	return r.below(r.top, 0)
}

// below looks in a manifest or index of the registry for the image's manifest.
func (r *refetch) below(d digest.Digest, depth int) (*ocispec.Manifest, error) {
	_, raw, err := r.src.Manifest(r.ctx, d.String())
	if err != nil {
		return nil, err
	}
	if m := r.describes(raw); m != nil {
		return m, nil
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil || depth == maxIndexDepth || len(index.Manifests) > maxEntries {
		return nil, fault.New(fault.Invalid, "%s is not the image's manifest any more", d)
	}
	for _, child := range index.Manifests {
		if !isImage(child.MediaType) && child.MediaType != ocispec.MediaTypeImageIndex {
			continue
		}
		m, err := r.below(child.Digest, depth+1)
		if err == nil || !errors.Is(err, fault.Invalid) {
			return m, err
		}
	}
	return nil, fault.New(fault.Invalid, "index %s does not have the image any more", d)
}

// describes returns a manifest if it is the image's.
func (r *refetch) describes(raw []byte) *ocispec.Manifest {
	m := new(ocispec.Manifest)
	if json.Unmarshal(raw, m) != nil || m.Config.Digest != r.o.ID || len(m.Layers) != len(r.o.Layers) {
		return nil
	}
	return m
}

// layer fetches the compressed form of a layer and unpacks it.
func (r *refetch) layer(id digest.Digest) error {
	known, err := r.s.images.LayerBlobs(id)
	if err != nil {
		return err
	}
	m, err := r.manifest()
	if err != nil {
		return err
	}
	for i, l := range r.o.Layers {
		if l == id {
			known = append(known, m.Layers[i])
			break
		}
	}
	err = fault.New(fault.NotFound, "the image's manifest there does not name it")
	for _, blob := range known {
		if err = r.blob(blob, func() error { return r.unpack(id, blob) }); err == nil || r.ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (r *refetch) unpack(id digest.Digest, blob ocispec.Descriptor) error {
	f, err := r.s.images.Blobs().Open(blob.Digest)
	if err != nil {
		return err
	}
	st, err := r.s.images.Layers().Stage(r.ctx, f, id)
	if err == nil {
		err = r.s.images.Layers().Replace(st)
		st.Discard()
	}
	if closed := f.Close(); !errors.Is(closed, os.ErrClosed) {
		err = errors.Join(err, closed)
	}
	if err != nil {
		return err
	}
	return r.s.images.KeepLayerBlob(id, blob)
}

func (r *refetch) bytes(d digest.Digest, raw []byte) error {
	return r.replace(ocispec.Descriptor{Digest: d, Size: int64(len(raw))}, bytesReader(raw), func() error { return nil })
}

// blob fetches a blob and gives it to use, which decides whether it is needed.
func (r *refetch) blob(d ocispec.Descriptor, use func() error) error {
	body, err := r.src.Blob(r.ctx, d, 0, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return r.replace(d, body, use)
}

// replace writes a blob over what may be there under its digest. It is held until
// use has returned.
func (r *refetch) replace(d ocispec.Descriptor, from io.Reader, use func() error) error {
	w, err := r.s.images.Blobs().Begin(r.ctx, d.Digest, d.Size)
	if err != nil {
		return err
	}
	if err = w.Reset(); err == nil {
		if _, err = io.Copy(w, from); err == nil {
			err = w.Finish()
		}
	}
	if err == nil {
		err = r.s.images.Blobs().Publish(w)
	}
	if err != nil {
		return errors.Join(err, w.Close())
	}
	defer r.s.images.Unhold(nil, []digest.Digest{d.Digest})
	return use()
}
