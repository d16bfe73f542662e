package system

import (
	"net/http"

	"github.com/sampan-containers/sampan/kernel/hostcheck"
	"github.com/sampan-containers/sampan/server"
)

// RegisterCheck adds the route that looks at the machine, which Docker does not have.
func RegisterCheck(s *server.Server, o hostcheck.Options) {
	s.Handle("GET /sampan/check", func(c *server.Call) error {
		return c.JSON(http.StatusOK, hostcheck.Run(o))
	})
}
