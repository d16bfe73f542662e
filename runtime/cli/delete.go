package cli

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/record"
)

func deleteCommand(c *call) (int, error) {
	var force bool
	args, err := c.parse(flags{{names: "force f", set: &force, about: "kill it first if it runs"}}, 1, 1)
	if err != nil {
		return 0, err
	}
	k, err := c.records.Open(args[0])
	if force && errors.Is(err, fault.NotFound) {
		return 0, c.sweep(args[0])
	}
	if err != nil {
		return 0, err
	}
	defer k.Close()
	// runc deletes a created container as well; the specification says that an error MUST
	// be generated (runtime.md, delete), and callers that want it gone use --force.
	if status := k.Status(); status != record.Stopped && !force {
		return 0, fault.New(fault.Conflict, "cannot delete container %s that is not stopped: %s; stop it with kill, or use --force", k.ID, status)
	}
	if k.Alive() {
		if err := k.Signal(unix.SIGKILL); err != nil && !errors.Is(err, fault.Conflict) {
			return 0, err
		}
	}
	g, err := k.Group()
	if err != nil && !errors.Is(err, fault.NotFound) {
		return 0, err
	}
	return 0, c.destroy(k, g)
}

// sweep removes the directory of a create that was killed on its way. Its group has
// the default path, or is not known to anybody.
func (c *call) sweep(id string) error {
	k, err := c.records.OpenUnread(id)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer k.Close()
	g, err := cgroup.Load(k.Hint(record.HintGroup, c.groupPath(id, k.SpecOrEmpty())))
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return c.destroy(k, g)
}
