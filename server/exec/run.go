package exec

import (
	"context"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

// execHeader names the exec in the answer of a run.
const execHeader = "Sampan-Exec"

// run is create and an attached start in one request, for a client that would send
// the two one after the other. It is not in Docker's API. The body is that of a
// create, the answer that of a start; with end, a last frame of its stream has the
// exit code (wire.FrameEnd).
func (r routes) run(c *server.Call) error {
	id, body, err := r.prepare(c)
	if err != nil {
		return err
	}
	c.W.Header().Set(execHeader, id)
	h := c.Hijack()
	h.Headers = true
	o := container.ExecStartOptions{Tty: body.Tty, ConsoleSize: body.ConsoleSize, End: c.Bool("end"), Hijack: h.Take}
	return h.Finish(r.execs.ExecStart(context.WithoutCancel(c.Context()), id, o))
}
