package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/archive"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/container/volumes"
	"github.com/sampan-containers/sampan/fault"
	tree "github.com/sampan-containers/sampan/kernel/archive"
	"github.com/sampan-containers/sampan/kernel/fsid"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

// view is a container's root for the time of one request.
type view struct {
	*inroot.Root
	rec  *record.Record
	ctx  context.Context // ends with the request, and with the run of the container
	done []func()
	// remap is set for a running container of another user namespace, whose owners the
	// daemon sees as the host does.
	remap *userns.Remap
}

func (v *view) close() {
	for i := len(v.done) - 1; i >= 0; i-- {
		v.done[i]()
	}
}

// packOptions make an archive hold the container's ids.
func (v *view) packOptions() tree.PackOptions {
	if v.remap == nil {
		return tree.PackOptions{}
	}
	return tree.PackOptions{Owner: v.remap.Container}
}

// unpack unpacks an archive of the container's ids. On its idmapped layers only its own
// users can make files.
func (v *view) unpack(content io.Reader, path string, o tree.UnpackOptions) error {
	if v.remap == nil {
		return tree.Unpack(v.ctx, content, v.Root, path, o)
	}
	o.MapOwner = v.remap.Host
	uid, gid := v.remap.Host(0, 0)
	return fsid.As(uid, gid, func() error { return tree.Unpack(v.ctx, content, v.Root, path, o) })
}

// viewKind says what of the root is seen.
type viewKind int

const (
	viewMounts viewKind = iota // with volumes and binds
	viewAlone                  // the container's own files only
)

// look opens the root of a container. A running one is reached through the root
// directory that its shim keeps, without the container's lock: a copy that hangs
// delays nobody else. One that does not run is mounted for the daemon alone, and
// its lock is held until close.
func (s *Files) look(ctx context.Context, e *index.Entry, kind viewKind) (*view, error) {
	const attempts = 3 // it may start or end between a look and the lock
	for range attempts {
		if r, err := e.Live(); err == nil {
			v, err := s.lookRunning(ctx, e, r, kind)
			if errors.Is(err, handle.ErrEnded) || errors.Is(err, handle.ErrLost) {
				if err := r.AwaitSettled(ctx); err != nil {
					return nil, err
				}
				continue
			}
			return v, err
		}
		if err := e.Acquire(ctx); err != nil {
			return nil, err
		}
		if e.Record().State.Running() {
			e.Release()
			continue
		}
		v, err := s.lookStopped(ctx, e, kind)
		if err != nil {
			e.Release()
		}
		return v, err
	}
	return nil, fault.New(fault.Unavailable, "container %s kept starting and ending; try again", e.ID)
}

func (s *Files) lookRunning(ctx context.Context, e *index.Entry, r *index.Run, kind viewKind) (*view, error) {
	e.Guests.Enter()
	rec := e.Record()
	v := &view{rec: rec, remap: rec.State.Remap, done: []func(){e.Guests.Leave}}
	root, err := r.Shim.Namespace(ctx, wire.KindRoot)
	if err == nil && kind == viewAlone {
		var ns *os.File
		if ns, err = r.Shim.Namespace(ctx, "mount"); err == nil {
			v.Root, err = rootview.Alone(root, ns)
			ns.Close()
		}
		root.Close()
	} else if err == nil {
		v.Root = inroot.From(root)
	}
	if err != nil {
		v.close()
		return nil, err
	}
	v.done = append(v.done, func() { v.Root.Close() })
	var cancel context.CancelCauseFunc
	v.ctx, cancel = context.WithCancelCause(ctx)
	stop := make(chan struct{})
	go func() {
		select {
		case <-r.Shim.Done():
			cancel(fault.New(fault.Conflict, "container %s ended while its files were copied", e.ID))
		case <-stop:
			cancel(nil)
		}
	}()
	v.done = append(v.done, func() { close(stop) })
	return v, nil
}

func (s *Files) lookStopped(ctx context.Context, e *index.Entry, kind viewKind) (*view, error) {
	if err := e.Guests.Wait(e.ID); err != nil {
		return nil, err
	}
	rec := e.Record()
	v := &view{rec: rec, ctx: ctx}
	root := rootview.Root{Lower: s.d.Paths.Lowers(rec.Root.Lower), Upper: rec.Root.Upper, Work: rec.Root.Work, ReadOnly: rec.HostConfig.ReadonlyRootfs}
	if kind == viewMounts {
		if err := s.d.Volumes.Mount(ctx, rec, viewUser+rec.ID); err != nil {
			return nil, err
		}
		v.done = append(v.done, func() { s.d.Volumes.Unmount(rec, viewUser+rec.ID) })
		held, err := s.binds(rec, &root)
		v.done = append(v.done, func() { closeFiles(held) })
		if err != nil {
			v.close()
			return nil, archive.Refuse(e.ID, "/", err)
		}
	}
	mounted, err := rootview.Mount(root)
	if err != nil {
		v.close()
		return nil, fault.New(fault.Unavailable, "container %s: %w", e.ID, err)
	}
	v.Root = mounted.Root
	if dir := rec.Config.WorkingDir; kind == viewMounts && dir != "" && rec.State.StartedAt.IsZero() && !root.ReadOnly {
		// Docker makes it at the create, and copies into it before the first start are
		// common. One that cannot be made is the start's to report.
		if f, err := mounted.MkdirAll(dir, 0o755); err == nil {
			f.Close()
		}
	}
	v.done = append([]func(){e.Release}, append(v.done, func() { mounted.Close() })...)
	return v, nil
}

// viewUser tells a copy from the container itself among a volume's users.
const viewUser = "copy of "

// binds lists what a start would mount from the host. held must stay open until
// the mount is made.
func (s *Files) binds(rec *record.Record, root *rootview.Root) (held []*os.File, err error) {
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		source := filepath.Join(s.d.Paths.DataDir(s.d.Containers.NetworkOwner(rec)), name)
		if _, err := os.Stat(source); err == nil { // before the first start there is none
			root.Binds = append(root.Binds, rootview.Bind{Source: source, Destination: "/etc/" + name, ReadOnly: rec.HostConfig.ReadonlyRootfs})
		}
	}
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		if m.Type != mount.TypeBind && m.Type != mount.TypeVolume {
			continue
		}
		b := rootview.Bind{Source: m.Source, Destination: m.Destination, ReadOnly: m.ReadOnly, Recursive: m.Type == mount.TypeBind && !m.NonRecursive}
		f, err := volumes.Subpath(m)
		if err != nil {
			return held, err
		}
		if f != nil {
			held = append(held, f)
			b.Source = fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		}
		root.Binds = append(root.Binds, b)
	}
	return held, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
