package transfer

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/client"
)

// Where compressed layers are not kept (Config.DropBlobs), a push finds them in the
// registry it goes to, or passes them on from one that the layer is known to be in,
// without a copy on the disk. Where nobody has them any more it packs the layers
// again, which gives the image another digest there.

// errGone says that nobody gives the compressed form of a layer any more.
var errGone = errors.New("no registry gives the compressed layer any more")

// dropped tells whether a blob was once verified to unpack to the layer and was
// not kept.
func (p *pusher) dropped(diffID digest.Digest, blob ocispec.Descriptor) bool {
	list, err := p.s.images.DroppedBlobs(diffID)
	if err != nil || p.repack {
		return false
	}
	for _, d := range list {
		if d.Digest == blob.Digest && d.Size == blob.Size {
			return true
		}
	}
	return false
}

// passOn sends a layer that is not here from a registry that has it.
func (p *pusher) passOn(ctx context.Context, l layerPlan, show *part) error {
	names, err := p.s.images.Origins(l.diffID)
	if err != nil {
		return err
	}
	var failed []error
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name.Name()] || name.Name() == p.ref.Name() {
			continue // it was asked already
		}
		seen[name.Name()] = true
		login := auth.Credentials{}
		if reference.Domain(name) == reference.Domain(p.ref) {
			login = p.login
		}
		for _, src := range p.s.Client().Repository(name, login).Sources() {
			err := p.from(ctx, src, l, show)
			if err == nil || ctx.Err() != nil {
				return err
			}
			failed = append(failed, fmt.Errorf("%s: %w", src, err))
		}
	}
	p.s.log.Info("a push packs a layer again: no registry gives its compressed form", "layer", l.diffID, "blob", l.blob.Digest, "error", errors.Join(failed...))
	return errGone
}

func (p *pusher) from(ctx context.Context, src *client.Source, l layerPlan, show *part) error {
	there, err := src.HasBlob(ctx, l.blob, false)
	if err != nil {
		return err
	}
	if !there {
		return fault.New(fault.NotFound, "it does not have blob %s", l.blob.Digest)
	}
	return p.upload(ctx, l.blob, show, func(offset int64) (io.ReadCloser, error) {
		body, err := src.Blob(ctx, l.blob, offset, nil)
		if err != nil || offset > 0 {
			return body, err // the registry compares the digest of the whole
		}
		return &verified{ReadCloser: body, want: l.blob.Digest, sum: l.blob.Digest.Algorithm().Hash()}, nil
	}, true)
}

// verified fails at the end of a blob that is another one than announced.
type verified struct {
	io.ReadCloser
	want digest.Digest
	sum  hash.Hash
}

func (v *verified) Read(b []byte) (int, error) {
	n, err := v.ReadCloser.Read(b)
	v.sum.Write(b[:n])
	if err == io.EOF {
		if got := digest.NewDigest(v.want.Algorithm(), v.sum); got != v.want {
			return n, fault.New(fault.Invalid, "blob does not have the digest it was announced with: expected %s, got %s", v.want, got)
		}
	}
	return n, err
}
