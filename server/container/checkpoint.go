package container

import (
	"context"
	"net/http"

	"github.com/moby/moby/api/types/checkpoint"

	"github.com/sampan-containers/sampan/server"
)

// Checkpoints saves the processes of containers and starts them again. A name or a
// directory that cannot be one is fault.Invalid, a checkpoint that is not there
// fault.NotFound, one that is there already fault.Conflict.
type Checkpoints interface {
	CheckpointCreate(ctx context.Context, ref string, o checkpoint.CreateRequest) error
	CheckpointList(ref, dir string) ([]checkpoint.Summary, error)
	CheckpointRemove(ref, dir, name string) error
	CheckpointImages(ref, dir, name string) (images string, err error)
	StartFrom(ctx context.Context, ref, images string) error
}

func (r routes) checkpointCreate(c *server.Call) error {
	var o checkpoint.CreateRequest
	if err := c.DecodeRequired(&o); err != nil {
		return err
	}
	if err := r.containers.CheckpointCreate(c.Context(), c.Name, o); err != nil {
		return err
	}
	c.W.WriteHeader(http.StatusCreated)
	return nil
}

func (r routes) checkpointList(c *server.Call) error {
	list, err := r.containers.CheckpointList(c.Name, c.Query("dir"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list)
}

func (r routes) checkpointRemove(c *server.Call) error {
	if err := r.containers.CheckpointRemove(c.Name, c.Query("dir"), c.Name2); err != nil {
		return err
	}
	return c.NoContent()
}
