package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// Damage is a blob or a layer that is not what its name says, or missing.
type Damage struct {
	Kind   string        // "blob" or "layer"
	Digest digest.Digest // of the blob, or the layer's diffID
	Images []string      // that need it, by name or ID
	Reason string
	// Repaired tells that Repair has made it whole again.
	Repaired bool
}

// CheckReport is what Check found. Bytes counts what was read.
type CheckReport struct {
	Blobs, Layers int
	Bytes         int64
	Damaged       []Damage
}

// Check reads every blob and every layer that an image needs and compares it with
// its digest. It runs at idle priority, beside whatever else happens; images that
// come or go meanwhile are left out.
func (s *Service) Check(ctx context.Context) (*CheckReport, error) {
	needs, err := s.needs()
	if err != nil {
		return nil, err
	}
	report := &CheckReport{}
	result := make(chan error, 1)
	go func() {
		// The thread ends with the goroutine, so its priority harms nobody.
		runtime.LockOSThread()
		lowPriority()
		result <- s.check(ctx, needs, report)
	}()
	return report, <-result
}

// lowPriority makes the calling thread read and compute when nobody else does.
func lowPriority() {
	const (
		whoProcess = 1
		classIdle  = 3 << 13
		niceness   = 19
	)
	// Where it is not allowed, the check is merely less polite.
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle)
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness)
}

// needs is what the images need, each with the images' names.
type needs struct{ blobs, layers map[digest.Digest][]string }

func (s *Service) needs() (*needs, error) {
	n := &needs{map[digest.Digest][]string{}, map[digest.Digest][]string{}}
	err := s.store.View(func(tx *state.Tx) error {
		return eachRecord(tx, func(id digest.Digest, r *record) error {
			refs, err := namesOf(tx, id)
			if err != nil {
				return err
			}
			names, digests := split(refs)
			if names = append(names, digests...); len(names) == 0 {
				names = []string{id.String()}
			}
			for _, d := range append([]digest.Digest{id}, r.Manifests...) {
				n.blobs[d] = append(n.blobs[d], names...)
			}
			for _, l := range r.Layers {
				n.layers[l] = append(n.layers[l], names...)
				list, err := layerBlobs(tx, l)
				if err != nil {
					return err
				}
				for _, b := range list {
					n.blobs[b.Digest] = append(n.blobs[b.Digest], names...)
				}
			}
			return nil
		})
	})
	return n, err
}

func (s *Service) check(ctx context.Context, n *needs, report *CheckReport) error {
	for d, images := range n.blobs {
		report.Blobs++
		size, err := s.blobs.Verify(ctx, d)
		report.Bytes += size
		if err := s.judge(ctx, report, Damage{Kind: "blob", Digest: d, Images: images}, err); err != nil {
			return err
		}
	}
	for id, images := range n.layers {
		report.Layers++
		if info, err := s.layers.Stat(id); err == nil {
			report.Bytes += info.Size
		}
		if err := s.judge(ctx, report, Damage{Kind: "layer", Digest: id, Images: images}, s.layers.Verify(ctx, id)); err != nil {
			return err
		}
	}
	slices.SortFunc(report.Damaged, func(a, b Damage) int { return strings.Compare(a.Kind+a.Digest.String(), b.Kind+b.Digest.String()) })
	return nil
}

// judge records a damage, unless its images have gone meanwhile.
func (s *Service) judge(ctx context.Context, report *CheckReport, d Damage, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.NotFound) {
		return fmt.Errorf("check %s %s: %w", d.Kind, d.Digest, err)
	}
	now, listErr := s.needs()
	if listErr != nil {
		return listErr
	}
	if now.blobs[d.Digest] == nil && now.layers[d.Digest] == nil {
		return nil
	}
	slices.Sort(d.Images)
	d.Images, d.Reason = slices.Compact(d.Images), err.Error()
	report.Damaged = append(report.Damaged, d)
	return nil
}

// Repair makes whole what Check found: a layer from its compressed blob where that
// is whole, and the rest by getting the images again from where they came
// (Refetch). A layer that containers use is left alone, running or not. What was
// repaired is marked in the report; the error joins why the rest was not.
func (s *Service) Repair(ctx context.Context, report *CheckReport) error {
	var failed []error
	for i := range report.Damaged {
		d := &report.Damaged[i]
		if err := s.repair(ctx, d); err != nil {
			failed = append(failed, fmt.Errorf("repair %s %s of %s: %w", d.Kind, d.Digest, strings.Join(d.Images, ", "), err))
			continue
		}
		d.Repaired = true
	}
	return errors.Join(failed...)
}

func (s *Service) repair(ctx context.Context, d *Damage) error {
	if d.Kind == "layer" {
		if err := s.unused(ctx, d); err != nil {
			return err
		}
		if done, err := s.unpackAgain(ctx, d.Digest); done || err != nil {
			return err
		}
	}
	var fetched error
	if s.Refetch != nil {
		if fetched = s.Refetch(ctx, *d); fetched == nil {
			return nil
		}
	}
	if d.Kind == "blob" {
		if forgotten, err := s.forgetBlob(d.Digest); forgotten || err != nil {
			return err
		}
	}
	if fetched != nil {
		return fetched
	}
	return fault.New(fault.Unavailable, "it cannot be made again from what is here; remove the image and get it again")
}

// forgetBlob drops a blob that is a second form of something: the compressed form of
// a layer, which the layer's files replace, or the manifest that an image came with.
// An image without them is whole; it leaves with other digests than it came with.
func (s *Service) forgetBlob(d digest.Digest) (found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.store.Update(func(tx *state.Tx) error {
		change := map[string][]ocispec.Descriptor{}
		err := tx.Each(blobBucket, func(key string, raw []byte) error {
			var list []ocispec.Descriptor
			if err := json.Unmarshal(raw, &list); err != nil {
				return err
			}
			kept := slices.DeleteFunc(slices.Clone(list), func(b ocispec.Descriptor) bool { return b.Digest == d })
			if len(kept) < len(list) {
				change[key] = kept
			}
			return nil
		})
		if err != nil {
			return err
		}
		for key, list := range change {
			found = true
			if err := tx.Put(blobBucket, key, list); err != nil {
				return err
			}
		}
		images := map[digest.Digest]*record{}
		err = eachRecord(tx, func(id digest.Digest, r *record) error {
			if slices.Contains(r.Manifests, d) {
				r.Manifests = slices.DeleteFunc(r.Manifests, func(m digest.Digest) bool { return m == d })
				images[id] = r
			}
			return nil
		})
		if err != nil {
			return err
		}
		for id, r := range images {
			found = true
			if err := tx.Put(imageBucket, id.String(), r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !found {
		return false, err
	}
	return true, s.blobs.Delete(d)
}

// unused refuses to replace a layer that lies below a container.
func (s *Service) unused(ctx context.Context, d *Damage) error {
	for _, name := range d.Images {
		img, err := s.Get(ctx, name)
		if err != nil {
			continue
		}
		if users := s.users(img.ID); len(users) > 0 {
			return fault.New(fault.Conflict, "container %s uses it (remove the container first)", truncate(users[0].ID))
		}
	}
	return nil
}

// unpackAgain unpacks a layer from one of its blobs, if one is whole.
func (s *Service) unpackAgain(ctx context.Context, id digest.Digest) (done bool, err error) {
	list, err := s.LayerBlobs(id)
	if err != nil {
		return false, err
	}
	for _, b := range list {
		if _, err := s.blobs.Verify(ctx, b.Digest); err != nil {
			continue
		}
		f, err := s.blobs.Open(b.Digest)
		if err != nil {
			continue
		}
		st, err := s.layers.Stage(ctx, f, id)
		if err == nil {
			err = s.layers.Replace(st)
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
