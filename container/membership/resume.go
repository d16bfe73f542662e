package membership

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/network"
)

const (
	// pendingFile in a run directory lists the ports that a change of them is about. It is
	// there as long as that goes on: what the supervisor holds of them and the record does
	// not have is let go of by the next daemon.
	pendingFile = "ports.pending"
	// maxPending bounds it.
	maxPending = 16 << 20
	// movingFile in a run directory is there while the container is connected to a network
	// or disconnected: whoever finds it at a start cannot know how far that went.
	movingFile = "networks.pending"
)

// Resume takes up what is a running container's that was found by a new daemon, and
// finishes what an earlier one did not live to do.
func (v *Verbs) Resume(rec *record.Record, sh index.Shim) {
	ctx, cancel := context.WithTimeout(context.Background(), keptWait)
	defer cancel()
	moving := v.moved(rec)
	if moving || v.d.Networks.Unlinked(rec.ID) {
		ns, err := sh.Namespace(ctx, "network")
		if err == nil {
			err = v.d.Networks.Relink(ctx, rec.ID, ns, moving)
			ns.Close()
		}
		if err != nil {
			v.d.Log.Error("connect a container again that lacks a link", "container", rec.ID, "error", err)
		}
	}
	if err := v.settlePending(ctx, rec, sh); err != nil {
		v.d.Log.Error("let go of ports that a container does not publish", "container", rec.ID, "error", err)
	}
	if !moving {
		v.ServeNames(rec, sh)
		return
	}
	if joined, err := v.d.Networks.Joined(rec.ID); err == nil {
		v.retarget(ctx, sh, nil, joined)
	}
	v.changed(ctx, rec, sh, !v.d.Networks.Resolves(rec.ID) && v.keepsResolver(ctx, sh))
	_ = os.Remove(v.movingPath(rec))
}

// moving notes that a container's networks are about to change; done ends it.
func (v *Verbs) moving(rec *record.Record) (done func(), err error) {
	path := v.movingPath(rec)
	return func() { _ = os.Remove(path) }, os.WriteFile(path, nil, 0o600)
}

func (v *Verbs) movingPath(rec *record.Record) string {
	return filepath.Join(v.d.Paths.RunDir(rec.ID), movingFile)
}

func (v *Verbs) moved(rec *record.Record) bool {
	_, err := os.Lstat(v.movingPath(rec))
	return err == nil
}

// keepsResolver tells whether a shim has a resolver's sockets.
func (v *Verbs) keepsResolver(ctx context.Context, sh index.Shim) bool {
	f, err := sh.Kept(ctx, keptTCP)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// pending notes that a change is about to be made of the ports; done ends it.
func (v *Verbs) pending(rec *record.Record, ports []network.BoundPort) (done func(), err error) {
	path := filepath.Join(v.d.Paths.RunDir(rec.ID), pendingFile)
	raw, err := json.Marshal(ports)
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	return func() { _ = os.Remove(path) }, err
}

func (v *Verbs) settlePending(ctx context.Context, rec *record.Record, sh index.Shim) error {
	path := filepath.Join(v.d.Paths.RunDir(rec.ID), pendingFile)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPending))
	if err != nil {
		return err
	}
	var ports []network.BoundPort
	// A file that is cut off was written by a daemon that died before it did anything.
	if json.Unmarshal(raw, &ports) == nil {
		var held []network.BoundPort
		if joined, err := v.d.Networks.Joined(rec.ID); err == nil {
			held = joined.Ports
		}
		for _, p := range ports {
			known := slices.ContainsFunc(held, func(h network.BoundPort) bool {
				return h.Proto == p.Proto && h.HostIP == p.HostIP && h.HostPort == p.HostPort
			})
			if !known && p.HostPort != 0 {
				// One that it does not hold is no failure.
				_ = sh.Publish(ctx, wirePort(p, netip.Addr{}), nil)
			}
		}
	}
	return os.Remove(path)
}
