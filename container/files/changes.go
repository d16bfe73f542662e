package files

import (
	"context"
	"fmt"
	"os"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/archive"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/snapshot"
)

// Changes tells what differs in a container's files from its image. It reads the
// directory of changes itself, so nothing is mounted and no lock is held.
func (s *Files) Changes(ctx context.Context, ref string) ([]container.FilesystemChange, error) {
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return nil, err
	}
	upper, lower, done, err := s.layers(ctx, e.Record())
	if err != nil {
		return nil, err
	}
	defer done()
	list, err := archive.Changes(ctx, upper, lower)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "changes of container %s: %w", e.ID, err)
	}
	return list, nil
}

// layers opens a container's directory of changes, and what lies below it. done
// closes them.
func (s *Files) layers(ctx context.Context, rec *record.Record) (upper, lower *inroot.Root, done func(), err error) {
	if lower, err = rootview.Open(s.d.Paths.Lowers(rec.Root.Image())); err != nil {
		return nil, nil, nil, err
	}
	var closeUpper func()
	if rec.Root.Plain() {
		upper, closeUpper, err = s.delta(ctx, rec, lower)
	} else if upper, err = inroot.Open(rec.Root.Upper); err == nil {
		closeUpper = func() { upper.Close() }
	}
	if err != nil {
		lower.Close()
		return nil, nil, nil, err
	}
	return upper, lower, func() { closeUpper(); lower.Close() }, nil
}

// delta makes the directory of changes of a root that is a copy of its image.
func (s *Files) delta(ctx context.Context, rec *record.Record, lower *inroot.Root) (*inroot.Root, func(), error) {
	dir, err := os.MkdirTemp(s.d.Paths.Data(rec.ID), "delta-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() {
		if err := os.RemoveAll(dir); err != nil {
			s.d.Log.Warn("a list of changes stays until the container is removed", "path", dir, "error", err)
		}
	}
	out, err := inroot.Open(dir)
	if err != nil {
		remove()
		return nil, nil, err
	}
	root, err := inroot.Open(rec.Root.Upper)
	if err == nil {
		err = snapshot.Delta(ctx, root, lower, out)
		root.Close()
	}
	if err != nil {
		out.Close()
		remove()
		return nil, nil, fmt.Errorf("compare the files of container %s with its image: %w", rec.ID, err)
	}
	return out, func() { out.Close(); remove() }, nil
}
