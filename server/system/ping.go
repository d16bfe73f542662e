package system

import (
	"net/http"

	"github.com/sampan-containers/sampan/server"
)

// ping carries in its headers what a client needs to choose its API version.
func (r *routes) ping(c *server.Call) error {
	cfg := r.config.Load()
	h := c.W.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	if cfg.BuilderVersion != "" {
		h.Set("Builder-Version", cfg.BuilderVersion)
	}
	h.Set("Swarm", "inactive")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if c.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		c.W.WriteHeader(http.StatusOK)
		return nil
	}
	_, _ = c.W.Write([]byte("OK")) // a client that went away is no error
	return nil
}
