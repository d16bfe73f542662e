package files

import (
	"context"
	"io"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/archive"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/fault"
	tree "github.com/sampan-containers/sampan/kernel/archive"
	"golang.org/x/sys/unix"
)

// ExtractOptions says how an archive is unpacked into a container.
type ExtractOptions struct {
	// NoOverwriteDirNonDir refuses to replace a directory by something else.
	NoOverwriteDirNonDir bool
	// CopyUIDGID gives the files to the container's user instead of the
	// archive's owners.
	CopyUIDGID bool
}

// StatPath describes a file of a container. One that is missing is fault.NotFound.
func (s *Files) StatPath(ctx context.Context, ref, path string) (*container.PathStat, error) {
	e, path, err := s.file(ref, path)
	if err != nil {
		return nil, err
	}
	v, err := s.look(ctx, e, viewMounts)
	if err != nil {
		return nil, err
	}
	defer v.close()
	st, err := archive.Stat(v.Root, path)
	return st, archive.Refuse(e.ID, path, err)
}

// ArchivePath writes a file or a tree of a container as a tar. begin gets the
// description and returns where the tar goes; before it, errors can be a status.
func (s *Files) ArchivePath(ctx context.Context, ref, path string, begin func(*container.PathStat) io.Writer) error {
	e, path, err := s.file(ref, path)
	if err != nil {
		return err
	}
	v, err := s.look(ctx, e, viewMounts)
	if err != nil {
		return err
	}
	defer v.close()
	st, err := archive.Stat(v.Root, path)
	if err != nil {
		return archive.Refuse(e.ID, path, err)
	}
	if err := archive.Write(v.ctx, begin(st), v.Root, path, v.packOptions()); err != nil {
		return archive.Refuse(e.ID, path, broken(v.ctx, err))
	}
	s.d.Events.Publish(notice.Container(v.rec, events.ActionArchivePath, nil))
	return nil
}

// broken tells why a copy was broken off, where the end of the run is the reason.
func broken(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && err == ctx.Err() {
		return cause
	}
	return err
}

// ExtractToDir unpacks a plain tar into a directory of a container. A path that is
// no directory is fault.Invalid, and a place that is read-only fault.Forbidden.
func (s *Files) ExtractToDir(ctx context.Context, ref, path string, content io.Reader, o ExtractOptions) error {
	e, path, err := s.file(ref, path)
	if err != nil {
		return err
	}
	v, err := s.look(ctx, e, viewMounts)
	if err != nil {
		return err
	}
	defer v.close()
	st, err := v.Stat(path)
	if err != nil {
		return archive.Refuse(e.ID, path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fault.New(fault.Invalid, "extraction point is not a directory: %s in container %s", path, e.ID)
	}
	options := tree.UnpackOptions{NoOverwriteDirNonDir: o.NoOverwriteDirNonDir}
	if o.CopyUIDGID && v.rec.Config.User != "" {
		if options.Owner, err = owner(v.rec); err != nil {
			return err
		}
	}
	if err := v.unpack(content, path, options); err != nil {
		return archive.Refuse(e.ID, path, broken(v.ctx, err))
	}
	s.d.Events.Publish(notice.Container(v.rec, events.ActionExtractToDir, nil))
	return nil
}

// owner is the user that the container's processes run as.
func owner(rec *record.Record) (*[2]int, error) {
	passwd, group, err := rootview.Accounts(append([]string{rec.Root.Upper}, rec.Root.Lower...))
	if err != nil {
		return nil, err
	}
	u, err := ocispec.ResolveUser(rec.Config.User, nil, passwd, group)
	if err != nil {
		return nil, err
	}
	return &[2]int{int(u.UID), int(u.GID)}, nil
}

func (s *Files) file(ref, path string) (*index.Entry, string, error) {
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return nil, "", err
	}
	path, err = archive.Clean(path)
	return e, path, err
}
