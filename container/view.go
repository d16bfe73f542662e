package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/archive"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

// guestWait is how long a start waits for those who still read the files of the
// container's last run. Their work is broken off when that run ends.
const guestWait = 10 * time.Second

// guests counts who works on the root of a running container. The root stays
// mounted while it is open, and an overlay's upper directory must not be mounted
// twice, so the next start waits for them.
type guests struct {
	mu   sync.Mutex
	n    int
	gone chan struct{}
}

func (g *guests) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n++; g.n == 1 {
		g.gone = make(chan struct{})
	}
}

func (g *guests) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 {
		close(g.gone)
	}
}

// wait returns when nobody is left.
func (g *guests) wait(id string) error {
	g.mu.Lock()
	gone, n := g.gone, g.n
	g.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-time.After(guestWait):
		return fault.New(fault.Conflict, "container %s: a copy of its files from the last run has not ended yet; end it, or try again later", id)
	}
}

// view is a container's root for the time of one request.
type view struct {
	*inroot.Root
	rec  *Record
	ctx  context.Context // ends with the request, and with the run of the container
	done []func()
}

func (v *view) close() {
	for i := len(v.done) - 1; i >= 0; i-- {
		v.done[i]()
	}
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
func (s *Service) look(ctx context.Context, e *entry, kind viewKind) (*view, error) {
	const attempts = 3 // it may start or end between a look and the lock
	for range attempts {
		if r, err := e.live(); err == nil {
			v, err := s.lookRunning(ctx, e, r, kind)
			if errors.Is(err, handle.ErrEnded) || errors.Is(err, handle.ErrLost) {
				if err := waitSettled(ctx, r); err != nil {
					return nil, err
				}
				continue
			}
			return v, err
		}
		if err := e.acquire(ctx); err != nil {
			return nil, err
		}
		if e.record().State.Running() {
			e.release()
			continue
		}
		v, err := s.lookStopped(ctx, e, kind)
		if err != nil {
			e.release()
		}
		return v, err
	}
	return nil, fault.New(fault.Unavailable, "container %s kept starting and ending; try again", e.id)
}

func waitSettled(ctx context.Context, r *run) error {
	select {
	case <-r.settled:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Service) lookRunning(ctx context.Context, e *entry, r *run, kind viewKind) (*view, error) {
	e.guests.enter()
	v := &view{rec: e.record(), done: []func(){e.guests.leave}}
	root, err := r.shim.Namespace(ctx, wire.KindRoot)
	if err == nil && kind == viewAlone {
		var ns *os.File
		if ns, err = r.shim.Namespace(ctx, "mount"); err == nil {
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
		case <-r.shim.Done():
			cancel(fault.New(fault.Conflict, "container %s ended while its files were copied", e.id))
		case <-stop:
			cancel(nil)
		}
	}()
	v.done = append(v.done, func() { close(stop) })
	return v, nil
}

func (s *Service) lookStopped(ctx context.Context, e *entry, kind viewKind) (*view, error) {
	if err := e.guests.wait(e.id); err != nil {
		return nil, err
	}
	rec := e.record()
	v := &view{rec: rec, ctx: ctx}
	root := rootview.Root{Lower: rec.Root.Lower, Upper: rec.Root.Upper, Work: rec.Root.Work, ReadOnly: rec.HostConfig.ReadonlyRootfs}
	if kind == viewMounts {
		if err := s.mountVolumes(ctx, rec, viewUser+rec.ID); err != nil {
			return nil, err
		}
		v.done = append(v.done, func() { s.unmountVolumes(rec, viewUser+rec.ID) })
		held, err := s.binds(rec, &root)
		v.done = append(v.done, func() { closeFiles(held) })
		if err != nil {
			v.close()
			return nil, archive.Refuse(e.id, "/", err)
		}
	}
	mounted, err := rootview.Mount(root)
	if err != nil {
		v.close()
		return nil, fault.New(fault.Unavailable, "container %s: %w", e.id, err)
	}
	v.Root = mounted.Root
	v.done = append([]func(){e.release}, append(v.done, func() { mounted.Close() })...)
	return v, nil
}

// viewUser tells a copy from the container itself among a volume's users.
const viewUser = "copy of "

// binds lists what a start would mount from the host. held must stay open until
// the mount is made.
func (s *Service) binds(rec *Record, root *rootview.Root) (held []*os.File, err error) {
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		source := filepath.Join(s.dataDir(s.networkOwner(rec)), name)
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
		f, err := subpath(m)
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
