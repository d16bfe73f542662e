package cli

import (
	"context"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/systemd"
)

// groupPlan says where a container's group will be, and who makes it.
type groupPlan struct {
	path string
	unit *systemd.Name // nil: nobody but us
}

func (c *call) planGroup(id string, spec *specs.Spec) (groupPlan, error) {
	given := ""
	if spec.Linux != nil {
		given = spec.Linux.CgroupsPath
	}
	if !c.systemd {
		if systemd.IsName(given) {
			return groupPlan{}, fault.New(fault.Invalid, "linux.cgroupsPath %.200q is in systemd's form (slice:prefix:name); give --systemd-cgroup, or use a path such as /sampan/NAME", given)
		}
		return groupPlan{path: c.groupPath(id, spec)}, nil
	}
	name, err := systemd.ParseName(given, id)
	if err != nil {
		return groupPlan{}, err
	}
	root, err := systemd.Root(context.Background())
	return groupPlan{path: path.Join(root, name.Path()), unit: &name}, err
}

// makeGroup creates the group, and before that the hints for whoever has to clean up. release,
// if not nil, is called when the container is in it.
func (c *call) makeGroup(k *record.Container, spec *specs.Spec, bundle string) (_ *cgroup.Group, p groupPlan, release func(), err error) {
	if p, err = c.planGroup(k.ID, spec); err != nil {
		return nil, p, nil, err
	}
	if err := k.LeaveHints(spec, bundle, p.path, p.unitName()); err != nil {
		return nil, p, nil, err
	}
	if p.unit == nil {
		g, made, err := c.ownGroup(k.ID, spec)
		p.path = made
		return g, p, nil, err
	}
	var res *specs.LinuxResources
	if spec.Linux != nil {
		res = spec.Linux.Resources
	}
	s, err := systemd.Create(context.Background(), systemd.Options{
		Name: *p.unit, ID: k.ID, Resources: res, Annotations: spec.Annotations, Warn: c.log.warn, Rootless: c.rootless,
	})
	if err != nil {
		return nil, p, nil, err
	}
	p.path = s.Group.Path()
	return s.Group, p, s.Release, nil
}

// leave ends who has held the group, if anybody has.
func leave(release func()) {
	if release != nil {
		release()
	}
}

func (p *groupPlan) unitName() string {
	if p.unit == nil {
		return ""
	}
	return p.unit.Unit
}

// stopUnit ends the unit of a container whose group is gone.
func (c *call) stopUnit(unit string) {
	if unit == "" {
		return
	}
	// As a rule systemd has seen the end of the group and forgotten the unit.
	if err := systemd.Stop(context.Background(), unit); err != nil {
		c.log.warn(err.Error())
	}
}
