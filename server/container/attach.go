package container

import (
	"context"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

// attach hands the connection's descriptor to the container's shim by way of
// the service and is done: the stream does not run through the daemon.
func (r routes) attach(c *server.Call) error {
	h := c.Hijack()
	return h.Refuse(r.attachTo(c, h))
}

// attachWebSocket is attach for web pages.
func (r routes) attachWebSocket(c *server.Call) error {
	// An unknown container is told of first, as in Docker.
	if _, err := r.containers.TTY(c.Name); err != nil {
		return err
	}
	h, err := c.HijackWebSocket()
	if err != nil {
		return err
	}
	return h.Finish(r.attachTo(c, h))
}

func (r routes) attachTo(c *server.Call, h *server.Hijacking) error {
	// net/http takes a client that has closed its sending side, as one without
	// stdin does, for one that left.
	return r.containers.Attach(context.WithoutCancel(c.Context()), c.Name, container.AttachOptions{
		Stream: c.Bool("stream"), Logs: c.Bool("logs"),
		Stdin: c.Bool("stdin"), Stdout: c.Bool("stdout"), Stderr: c.Bool("stderr"),
		DetachKeys: c.Query("detachKeys"), Hijack: h.Take,
	})
}
