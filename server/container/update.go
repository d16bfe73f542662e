package container

import (
	"context"
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/server"
)

// updateBody names the fields that the newest version dropped, so that setting
// one of them gets a warning.
type updateBody struct {
	api.UpdateConfig
	KernelMemory    int64
	KernelMemoryTCP int64
}

func (r routes) update(c *server.Call) error {
	var body updateBody
	if err := c.DecodeRequired(&body); err != nil {
		return err
	}
	if c.Version < v1_40 {
		body.PidsLimit = nil
	}
	if body.PidsLimit != nil && *body.PidsLimit <= 0 {
		body.PidsLimit = new(int64) // all of these mean no limit
	}
	// What has been written to the kernel is recorded, whoever still listens.
	warnings, err := r.containers.Update(context.WithoutCancel(c.Context()), c.Name, &body.UpdateConfig)
	if err != nil {
		return err
	}
	if body.KernelMemory != 0 || body.KernelMemoryTCP != 0 {
		warnings = append(warnings, "Kernel memory limits were dropped by the kernel and are ignored; use a memory limit.")
	}
	return c.JSON(http.StatusOK, api.UpdateResponse{Warnings: warnings})
}
