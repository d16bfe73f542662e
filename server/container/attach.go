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
	// net/http takes a client that has closed its sending side, as one without
	// stdin does, for one that left.
	err := r.containers.Attach(context.WithoutCancel(c.Context()), c.Name, container.AttachOptions{
		Stream: c.Bool("stream"), Logs: c.Bool("logs"),
		Stdin: c.Bool("stdin"), Stdout: c.Bool("stdout"), Stderr: c.Bool("stderr"),
		DetachKeys: c.Query("detachKeys"), Hijack: h.Take,
	})
	return h.Refuse(err)
}
