package container

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

// Headers of the answer of a run, also of an error after the create.
const (
	containerHeader = "Sampan-Container"
	warningHeader   = "Sampan-Warning" // a quoted string each
)

// run is create, attach and start in one request, for a client that would send
// the three one after the other. It is not in Docker's API. Its parameters are
// those of a create and of an attach; with detach it answers as a create does,
// once the container runs. Otherwise the answer is that of an attach, and a
// start that fails says so in a frame of the stream, so that no terminal can
// have it. With end, a last frame has the exit code (wire.FrameEnd), and the stream
// ends when the end is on record, or the container is removed if it is to be: the
// client needs no request to wait for that.
func (r routes) run(c *server.Call) error {
	id := r.containers.Announce() // before the body is read: its shim comes up meanwhile
	o, warnings, err := r.createOptions(c)
	if err != nil {
		return err
	}
	o.ID = id
	detach := c.Bool("detach")
	if o.Config.Tty && !detach {
		return fault.New(fault.Invalid, "a container with a terminal is created, attached to and started in requests of their own")
	}
	_, more, err := r.containers.Create(c.Context(), o)
	if err != nil {
		return err
	}
	warnings = append(warnings, more...)
	c.W.Header().Set(containerHeader, id)
	for _, text := range warnings {
		c.W.Header().Add(warningHeader, strconv.QuoteToASCII(text))
	}
	if detach {
		if err := r.containers.Start(c.Context(), id); err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, api.CreateResponse{ID: id, Warnings: warnings})
	}
	// net/http takes a client that has closed its sending side, as one without
	// stdin does, for one that left.
	ctx := context.WithoutCancel(c.Context())
	h := c.Hijack()
	h.Headers, h.ErrorFrame = true, true
	err = r.containers.Attach(ctx, id, container.AttachOptions{
		Stream: true, Stdin: c.Bool("stdin"), Stdout: c.Bool("stdout"), Stderr: c.Bool("stderr"),
		DetachKeys: c.Query("detachKeys"), End: c.Bool("end"), Hijack: h.Take,
	})
	if err == nil {
		err = r.containers.Start(ctx, id)
	}
	if err == nil && c.Bool("end") {
		err = r.awaitEnd(ctx, id, o.HostConfig.AutoRemove)
	}
	return h.Finish(err)
}

// awaitEnd returns when the container's end is on record, or it is gone.
func (r routes) awaitEnd(ctx context.Context, id string, removed bool) error {
	condition := container.WaitFirstExit
	if removed {
		condition = container.WaitRemoved
	}
	result, err := r.containers.Wait(ctx, id, condition)
	if err != nil {
		return nil // gone already
	}
	if end := <-result; end.Error != "" {
		return errors.New(end.Error)
	}
	return nil
}
