package container

import (
	"context"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) stop(c *server.Call) error {
	o, err := stopOptions(c)
	if err != nil {
		return err
	}
	// A client that goes away has asked for the stop all the same: a container
	// must not be left between its signal and its end.
	if err := r.containers.Stop(context.WithoutCancel(c.Context()), c.Name, o); err != nil {
		return err
	}
	return c.NoContent()
}

func stopOptions(c *server.Call) (o container.StopOptions, err error) {
	if c.Version >= v1_42 {
		o.Signal = c.Query("signal")
	}
	o.Timeout, err = c.Int("t")
	return o, err
}
