package control

import (
	"context"
	"reflect"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/ocispec"
)

// Apply brings a container from its host configuration to another, by the update u. Of
// one that does not run it only checks what a start would refuse. What the kernel
// refuses changes nothing; warnings tell what it refuses in part.
func (c *Control) Apply(ctx context.Context, e *index.Entry, to *container.HostConfig, u *container.UpdateConfig, host ocispec.Host) (warnings []string, err error) {
	rec := e.Record()
	from := rec.HostConfig
	nodes, rules, err := ocispec.UpdateDevices(from, to, host)
	if err != nil || !rec.State.Running() || reflect.DeepEqual(from.Resources, to.Resources) {
		return nil, err
	}
	res, err := ocispec.UpdateResources(from, to, host)
	if err != nil {
		return nil, err
	}
	res.Devices = rules
	if warnings, err = c.Ulimits(e, u.Ulimits); err != nil {
		return nil, err
	}
	if err := c.makeNodes(ctx, e, nodes); err != nil {
		return nil, err
	}
	if err := c.Limit(ctx, e, res); err != nil {
		// What was written before the refusal goes back.
		if back, backErr := ocispec.UpdateResources(to, from, host); backErr == nil {
			_ = c.Limit(ctx, e, back)
		}
		return nil, err
	}
	return warnings, nil
}
