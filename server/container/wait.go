package container

import (
	"encoding/json"
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

var (
	v1_30 = server.V(1, 30)
	v1_34 = server.V(1, 34)
)

// wait answers its header as soon as the wait is registered: a client that has
// seen it may start the container without missing its end.
func (r routes) wait(c *server.Call) error {
	condition := container.WaitNotRunning
	early := c.Version >= v1_30
	if early && c.Query("condition") != "" {
		condition = c.Query("condition")
	}
	switch condition {
	case container.WaitNotRunning, container.WaitNextExit, container.WaitRemoved, container.WaitFirstExit:
	default:
		return fault.New(fault.Invalid, "invalid condition: %q", condition)
	}
	ctx, cancel := c.Stream()
	defer cancel()
	result, err := r.containers.Wait(ctx, c.Name, condition)
	if err != nil {
		return err
	}
	c.W.Header().Set("Content-Type", "application/json")
	if early {
		c.W.WriteHeader(http.StatusOK)
		c.Flush()
	}
	select {
	case end := <-result:
		answer := api.WaitResponse{StatusCode: end.StatusCode}
		if end.Error != "" {
			if c.Version < v1_34 && condition == container.WaitRemoved {
				return nil // an empty answer was how these versions told of an error
			}
			answer.Error = &api.WaitExitError{Message: end.Error}
		}
		// A client that went away is no error of the handler.
		_ = json.NewEncoder(c.W).Encode(compat.Wait(c.Version, answer))
		return nil
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "wait for container %s: the daemon is shutting down", c.Name)
	}
}
