package runtime

import (
	"context"
	"errors"

	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/systemd"
)

// openScope lets systemd make the group: the path is slice:prefix:name.
func (l *launcher) openScope(path string) error {
	name, err := systemd.ParseName(path, l.s.ID)
	if err != nil {
		return err
	}
	l.scope, err = systemd.Create(context.Background(), systemd.Options{
		Name: name, ID: l.s.ID, Resources: l.linux.Resources, Annotations: l.spec.Annotations, Warn: l.warn,
	})
	if err != nil {
		return err
	}
	l.group, l.made, l.unit, l.entered = l.scope.Group, true, l.scope.Unit, l.scope.Release
	return nil
}

// removeGroup ends a group and, where systemd has made it, its unit.
func removeGroup(g *cgroup.Group, unit string) error {
	err := RemoveGroup(g)
	if unit == "" {
		return err
	}
	return errors.Join(err, systemd.Stop(context.Background(), unit))
}
