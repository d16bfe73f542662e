package container

import (
	"encoding/json"
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

// createBody is a create request in the forms of all versions.
type createBody struct {
	*api.Config
	Cmd              words
	Entrypoint       words
	MacAddress       string // moved to the endpoint in 1.44
	HostConfig       *hostConfig
	NetworkingConfig *network.NetworkingConfig
}

// hostConfig names the fields that the newest version dropped, so that setting
// one of them gets a warning.
type hostConfig struct {
	api.HostConfig
	KernelMemory    int64
	KernelMemoryTCP int64
}

// words is a command, which older clients may also send as one string.
type words []string

func (w *words) UnmarshalJSON(raw []byte) error {
	var one string
	if err := json.Unmarshal(raw, &one); err == nil && string(raw) != "null" {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(w))
}

func (r routes) create(c *server.Call) error {
	o, warnings, err := r.createOptions(c)
	if err != nil {
		return err
	}
	id, more, err := r.containers.Create(c.Context(), o)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, api.CreateResponse{ID: id, Warnings: append(warnings, more...)})
}

// createOptions reads what a create request asks for.
func (r routes) createOptions(c *server.Call) (o container.CreateOptions, warnings []string, err error) {
	var body createBody
	if err := c.DecodeRequired(&body); err != nil {
		return o, nil, err
	}
	if body.Config == nil && body.Cmd == nil && body.Entrypoint == nil {
		return o, nil, fault.New(fault.Invalid, "config cannot be empty in order to create a container")
	}
	if body.Config == nil {
		body.Config = &api.Config{}
	}
	body.Config.Cmd, body.Config.Entrypoint = body.Cmd, body.Entrypoint
	if body.HostConfig == nil {
		body.HostConfig = &hostConfig{}
	}
	if body.NetworkingConfig == nil {
		body.NetworkingConfig = &network.NetworkingConfig{}
	}
	if warnings, err = upgrade(c.Version, r.cgroup2, &body); err != nil {
		return o, nil, err
	}
	o = container.CreateOptions{
		Name: c.Query("name"), Config: body.Config, HostConfig: &body.HostConfig.HostConfig, NetworkingConfig: body.NetworkingConfig,
	}
	o.ShallowReadOnly = c.Version < v1_44 // what read-only meant then
	if c.Version >= v1_41 {
		o.Platform = c.Query("platform")
	}
	return o, warnings, nil
}
