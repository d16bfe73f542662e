package files

import (
	"context"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/archive"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// Changes tells what differs in a container's files from its image. It reads the
// directory of changes itself, so nothing is mounted and no lock is held.
func (s *Files) Changes(ctx context.Context, ref string) ([]container.FilesystemChange, error) {
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return nil, err
	}
	upper, lower, err := layers(e.Record())
	if err != nil {
		return nil, err
	}
	defer upper.Close()
	defer lower.Close()
	list, err := archive.Changes(ctx, upper, lower)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "changes of container %s: %w", e.ID, err)
	}
	return list, nil
}

// layers opens a container's directory of changes, and what lies below it.
func layers(rec *record.Record) (upper, lower *inroot.Root, err error) {
	if upper, err = inroot.Open(rec.Root.Upper); err != nil {
		return nil, nil, err
	}
	if lower, err = rootview.Open(rec.Root.Lower); err != nil {
		upper.Close()
		return nil, nil, err
	}
	return upper, lower, nil
}
