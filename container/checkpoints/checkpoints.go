// Package checkpoints saves running containers and keeps what was saved: a directory for
// each checkpoint, below the container's data or where the caller says. It holds the
// images of criu and nothing that the engine reads: what a container started from one
// is like comes from its record.
package checkpoints

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/moby/api/types/checkpoint"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
	runtime "github.com/sampan-containers/sampan/runtime/checkpoint"
)

const (
	maxName = 128
	work    = "criu.work" // the log of the last dump, beside the checkpoints
)

// Dumper saves processes.
type Dumper interface {
	Dump(context.Context, *runtime.Request) error
}

// Publisher tells of events.
type Publisher interface {
	Publish(events.Message)
}

// Dependencies are what the verbs stand on.
type Dependencies struct {
	Containers *index.Index
	Paths      *layout.Paths
	Dumper     Dumper
	Events     Publisher
}

// Checkpoints has the verbs.
type Checkpoints struct{ d Dependencies }

// New makes them.
func New(d Dependencies) *Checkpoints { return &Checkpoints{d} }

// checkName refuses what could be a path.
func checkName(name string) error {
	ok := len(name) > 1 && len(name) <= maxName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = letter || i > 0 && (c == '_' || c == '.' || c == '-')
	}
	if !ok {
		return fault.New(fault.Invalid, "Invalid checkpoint ID (%.80q), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	return nil
}

// place is where the checkpoints of a container lie.
func (c *Checkpoints) place(e *index.Entry, dir string) (string, error) {
	if dir == "" {
		return filepath.Join(c.d.Paths.DataDir(e.ID), "checkpoints"), nil
	}
	if !filepath.IsAbs(dir) {
		return "", fault.New(fault.Invalid, "the directory of checkpoints %q must be absolute", dir)
	}
	return filepath.Clean(dir), nil
}

// CheckpointImages returns the directory of a checkpoint.
func (c *Checkpoints) CheckpointImages(ref, dir, name string) (string, error) {
	e, err := c.d.Containers.Find(ref)
	if err != nil {
		return "", err
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	if dir, err = c.place(e, dir); err != nil {
		return "", err
	}
	images := filepath.Join(dir, name)
	if st, err := os.Lstat(images); err != nil || !st.IsDir() {
		return "", fault.New(fault.NotFound, "checkpoint %s does not exist for container %s", name, ref)
	}
	return images, nil
}

// CheckpointCreate saves a running container, and ends it if exit is set.
func (c *Checkpoints) CheckpointCreate(ctx context.Context, ref string, o checkpoint.CreateRequest) (retErr error) {
	e, err := c.d.Containers.Find(ref)
	if err != nil {
		return err
	}
	if err := checkName(o.CheckpointID); err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	rec := e.Record()
	if rec.State.Status != container.StateRunning {
		return fault.New(fault.Conflict, "Container %s not running", ref)
	}
	if rec.HostConfig.Runtime != "" && rec.HostConfig.Runtime != request.OwnRuntime {
		return fault.New(fault.NotImplemented, "a container of the runtime %s cannot be checkpointed; only those of Sampan's own can", rec.HostConfig.Runtime)
	}
	dir, err := c.place(e, o.CheckpointDir)
	if err != nil {
		return err
	}
	images := filepath.Join(dir, o.CheckpointID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of checkpoints: %w", err)
	}
	if err := os.Mkdir(images, 0o700); errors.Is(err, os.ErrExist) {
		return fault.New(fault.Conflict, "checkpoint with name %s already exists for container %s", o.CheckpointID, ref)
	} else if err != nil {
		return fmt.Errorf("make the directory of checkpoint %s: %w", o.CheckpointID, err)
	}
	defer func() {
		if retErr != nil {
			_ = os.RemoveAll(images)
		}
	}()
	err = c.d.Dumper.Dump(context.WithoutCancel(ctx), &runtime.Request{
		ID: e.ID, Bundle: c.d.Paths.RunDir(e.ID), Cgroup: c.d.Paths.Cgroup(rec), Pid: rec.State.Pid,
		Images: images, Work: filepath.Join(c.d.Paths.RunDir(e.ID), work), LeaveRunning: !o.Exit,
	})
	if err != nil {
		return fmt.Errorf("cannot checkpoint container %s: %w", ref, err)
	}
	c.d.Events.Publish(notice.Container(rec, events.ActionCheckpoint, nil))
	return nil
}

// CheckpointList names the checkpoints of a container.
func (c *Checkpoints) CheckpointList(ref, dir string) ([]checkpoint.Summary, error) {
	e, err := c.d.Containers.Find(ref)
	if err != nil {
		return nil, err
	}
	if dir, err = c.place(e, dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list the checkpoints of container %s: %w", ref, err)
	}
	list := []checkpoint.Summary{}
	for _, entry := range entries {
		if entry.IsDir() && checkName(entry.Name()) == nil {
			list = append(list, checkpoint.Summary{Name: entry.Name()})
		}
	}
	return list, nil
}

// CheckpointRemove removes one.
func (c *Checkpoints) CheckpointRemove(ref, dir, name string) error {
	images, err := c.CheckpointImages(ref, dir, name)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(images); err != nil {
		return fmt.Errorf("remove checkpoint %s: %w", name, err)
	}
	return nil
}
