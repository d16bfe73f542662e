package files

import (
	"archive/tar"
	"context"
	"io"

	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/archive"
	"github.com/sampan-containers/sampan/container/notice"
	tree "github.com/sampan-containers/sampan/kernel/archive"
)

// Export writes a container's whole root as a tar, without what is in its
// volumes. begin returns where the tar goes; before it, errors can be a status.
func (s *Files) Export(ctx context.Context, ref string, begin func() io.Writer) error {
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return err
	}
	v, err := s.look(ctx, e, viewAlone)
	if err != nil {
		return err
	}
	defer v.close()
	t := tar.NewWriter(begin())
	o := v.packOptions()
	o.OmitTop = true
	err = tree.Pack(v.ctx, t, v.Root, "/", "", o)
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		return archive.Refuse(e.ID, "/", broken(v.ctx, err))
	}
	s.d.Events.Publish(notice.Container(v.rec, events.ActionExport, nil))
	return nil
}
