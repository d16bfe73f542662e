package exec

import (
	"context"
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

// start runs an exec. Attached, the connection's descriptor goes to the
// container's shim and the stream does not run through the daemon.
func (r routes) start(c *server.Call) error {
	var body api.ExecStartRequest
	if err := c.Decode(&body); err != nil {
		return err
	}
	o := container.ExecStartOptions{Detach: body.Detach, Tty: body.Tty}
	if c.Version >= consoleSizeSince && body.Tty {
		o.ConsoleSize = body.ConsoleSize
	}
	if o.Detach {
		if err := r.execs.ExecStart(c.Context(), c.Name, o); err != nil {
			return err
		}
		c.W.WriteHeader(http.StatusOK)
		return nil
	}
	h := c.Hijack()
	h.Headers = true
	o.Hijack = h.Take
	// net/http takes a client that has closed its sending side, as one without
	// stdin does, for one that left.
	return h.Finish(r.execs.ExecStart(context.WithoutCancel(c.Context()), c.Name, o))
}
