package integrity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
)

// Fetch makes a damaged blob or layer whole with what a registry has. fault.NotFound
// says that no registry has it.
type Fetch func(ctx context.Context, d image.Damage) error

// Repair mends a layer from its compressed blob where that is whole, and the rest
// by Fetch, which may be nil. A compressed blob or a manifest that nobody has any more
// is dropped when the image does without. A layer that containers use is left
// alone, running or not. What was repaired is marked in the report; the error joins
// why the rest was not.
func (s *Service) Repair(ctx context.Context, report *Report, fetch Fetch) error {
	why := make([]error, len(report.Damaged))
	for i := range report.Damaged {
		d := &report.Damaged[i]
		why[i] = s.repair(ctx, d, fetch)
		d.Repaired = why[i] == nil
	}
	// What makes a layer again is not dropped before the layer is whole.
	for i := range report.Damaged {
		d := &report.Damaged[i]
		if fault.Of(why[i]) != fault.NotFound || d.Kind != image.Blob {
			continue
		}
		if spare, err := s.spare(report, d.Digest); err != nil || !spare {
			why[i] = errors.Join(why[i], err)
			continue
		}
		if dropped, err := s.images.ForgetBlob(d.Digest); dropped && err == nil {
			why[i], d.Repaired = nil, true
		} else if err != nil {
			why[i] = errors.Join(why[i], err)
		}
	}
	for i, err := range why {
		if err != nil {
			d := &report.Damaged[i]
			why[i] = fmt.Errorf("repair %s %s of %s: %w", d.Kind, d.Digest, strings.Join(d.Images, ", "), err)
		}
	}
	return errors.Join(why...)
}

func (s *Service) repair(ctx context.Context, d *image.Damage, fetch Fetch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.Kind == image.Layer {
		if err := s.unused(d); err != nil {
			return err
		}
		if done, err := s.unpackAgain(ctx, d.Digest); done || err != nil {
			return err
		}
	}
	if fetch != nil {
		return fetch(ctx, *d)
	}
	return fault.New(fault.NotFound, "it cannot be made again from what is here; remove the image and get it again")
}

// spare tells whether no damaged layer waits for the blob.
func (s *Service) spare(report *Report, d digest.Digest) (bool, error) {
	for _, other := range report.Damaged {
		if other.Kind != image.Layer || other.Repaired {
			continue
		}
		list, err := s.images.LayerBlobs(other.Digest)
		if err != nil {
			return false, err
		}
		for _, b := range list {
			if b.Digest == d {
				return false, nil
			}
		}
	}
	return true, nil
}

// unused refuses to replace a layer that lies below a container.
func (s *Service) unused(d *image.Damage) error {
	for _, name := range d.Images {
		users, err := s.images.UsersOf(name)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		if len(users) > 0 {
			return fault.New(fault.Conflict, "container %.12s uses it (remove the container first)", users[0].ID)
		}
	}
	return nil
}

// unpackAgain unpacks a layer from one of its blobs, if one is whole.
func (s *Service) unpackAgain(ctx context.Context, id digest.Digest) (done bool, err error) {
	list, err := s.images.LayerBlobs(id)
	if err != nil {
		return false, err
	}
	for _, b := range list {
		if _, err := s.images.Blobs().Verify(ctx, b.Digest); err != nil {
			continue
		}
		f, err := s.images.Blobs().Open(b.Digest)
		if err != nil {
			continue
		}
		st, err := s.images.Layers().Stage(ctx, f, id)
		if err == nil {
			err = s.images.Layers().Replace(st)
			st.Discard()
		}
		return err == nil, errors.Join(err, ignoreClosed(f.Close()))
	}
	return false, nil
}

// ignoreClosed drops the error of a file that its reader has closed.
func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
