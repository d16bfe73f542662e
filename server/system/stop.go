package system

import (
	"context"
	"net/http"

	ours "github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

// Stopper ends all containers.
type Stopper interface {
	StopAll(ctx context.Context, o ours.StopOptions) (stopped []string, err error)
}

// stopResponse is the answer of POST /sampan/stop, which Docker does not have.
type stopResponse struct {
	Stopped []string
	Error   string `json:",omitempty"`
}

// RegisterStop adds the route that stops all containers and then, by end, the daemon.
func RegisterStop(s *server.Server, containers Stopper, end func()) {
	s.Handle("POST /sampan/stop", func(c *server.Call) error {
		timeout, err := c.Int("t")
		if err != nil {
			return err
		}
		// Once begun it is carried through: containers that have ended do not come back.
		stopped, err := containers.StopAll(context.WithoutCancel(c.Context()), ours.StopOptions{Timeout: timeout})
		answer := stopResponse{Stopped: append([]string{}, stopped...)}
		if err != nil {
			answer.Error = err.Error()
		}
		defer end()
		return c.JSON(http.StatusOK, answer)
	})
}
