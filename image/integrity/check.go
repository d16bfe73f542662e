// Package integrity verifies what images have on disk, and mends it.
//
// Check reads every blob and every layer that an image needs and compares it with
// its digest. Repair makes whole what Check found: from what is here where that is
// enough, else from where the images came (Fetch). Both work beside whatever else
// happens to images.
package integrity

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
)

// Service checks and repairs the images of one image service.
type Service struct{ images *image.Service }

// New makes a Service.
func New(images *image.Service) *Service { return &Service{images} }

// Report is what Check found. Bytes counts what was read.
type Report struct {
	Blobs, Layers int
	Bytes         int64
	Damaged       []image.Damage
}

// Check runs at idle priority; images that come or go meanwhile are left out.
func (s *Service) Check(ctx context.Context) (*Report, error) {
	needs, err := s.images.Needs()
	if err != nil {
		return nil, err
	}
	report := &Report{}
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

func (s *Service) check(ctx context.Context, n *image.Needs, report *Report) error {
	for d, images := range n.Blobs {
		report.Blobs++
		size, err := s.images.Blobs().Verify(ctx, d)
		report.Bytes += size
		if err := s.judge(ctx, report, image.Damage{Kind: image.Blob, Digest: d, Images: images}, err); err != nil {
			return err
		}
	}
	for id, images := range n.Layers {
		report.Layers++
		if info, err := s.images.Layers().Stat(id); err == nil {
			report.Bytes += info.Size
		}
		if err := s.judge(ctx, report, image.Damage{Kind: image.Layer, Digest: id, Images: images}, s.images.Layers().Verify(ctx, id)); err != nil {
			return err
		}
	}
	slices.SortFunc(report.Damaged, func(a, b image.Damage) int {
		return strings.Compare(a.Kind+a.Digest.String(), b.Kind+b.Digest.String())
	})
	return nil
}

// judge records a damage, unless its images have gone meanwhile.
func (s *Service) judge(ctx context.Context, report *Report, d image.Damage, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.NotFound) {
		return fmt.Errorf("check %s %s: %w", d.Kind, d.Digest, err)
	}
	now, listErr := s.images.Needs()
	if listErr != nil {
		return listErr
	}
	if !needed(now, d.Kind, d.Digest) {
		return nil
	}
	slices.Sort(d.Images)
	d.Images, d.Reason = slices.Compact(d.Images), err.Error()
	report.Damaged = append(report.Damaged, d)
	return nil
}

func needed(n *image.Needs, kind string, d digest.Digest) bool {
	if kind == image.Layer {
		return n.Layers[d] != nil
	}
	return n.Blobs[d] != nil
}
