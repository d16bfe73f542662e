package cli

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/forward"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/cli/tty"
	"github.com/sampan-containers/sampan/runtime/hook"
	"github.com/sampan-containers/sampan/runtime/rootfs"
)

func runCommand(c *call) (int, error) {
	var o launchOptions
	args, err := c.parse(append(o.flags(),
		flag{names: "detach d", set: &o.detach, about: "return when the program runs"},
		flag{names: "keep", set: &o.keep, about: "do not delete the container after its end"},
		flag{names: "no-subreaper", set: &o.subreaper, about: "accepted; orphans of a container are never reaped here"},
	), 1, 1)
	if err != nil {
		return 0, err
	}
	if code, done, err := c.withoutRoot(o.bundle, false); done || err != nil {
		return code, err
	}
	signals := -1
	if !o.detach {
		// From here on a signal is for the container.
		if signals, err = forward.Catch(); err != nil {
			return 0, err
		}
	}
	k, ct, err := c.create(args[0], &o, false)
	if err != nil {
		return 0, err
	}
	if o.detach {
		k.Close()
		return 0, ct.Close()
	}
	var s *tty.Session
	if ct.Console != nil && o.console == "" {
		if s, err = tty.Attach(ct.Console); err != nil {
			abandon(ct)
			return 0, errors.Join(err, c.destroy(k, ct.Cgroup))
		}
	}
	k.Close() // others may exec, kill and look while it runs
	code := forward.Follow(ct.Pid, ct.PidFD, signals, s)
	if o.keep {
		return code, ct.Close()
	}
	go unix.Close(c.mounts) // takes the file systems down, and the end of this process waits for it
	if err := k.Lock(); err != nil {
		return code, nil // deleted by somebody else
	}
	defer k.Close()
	defer ct.Close()
	return code, c.destroy(k, ct.Cgroup)
}

// destroy takes away what a container that has ended left: processes, group, record.
func (c *call) destroy(k *record.Container, g *cgroup.Group) error {
	ctx := context.Background() // Kill and Remove have their own limit
	if g == nil || g.Empty() {
		if err := k.EndWithoutGroup(ctx); err != nil {
			return err
		}
	} else if !g.RemoveEmpty() {
		if err := g.Kill(ctx); err != nil {
			return err
		}
		if err := g.Remove(ctx); err != nil {
			return err
		}
	}
	unit := k.Unit
	if k.Spec == nil {
		unit = k.Hint(record.HintUnit, "")
	}
	c.stopUnit(unit)
	if err := k.LeaveRDT(); err != nil {
		return err
	}
	if place := k.HostMount(); place != "" {
		if err := rootfs.Unmount(place); err != nil {
			return err
		}
	}
	if k.Spec != nil && k.Spec.Hooks != nil {
		hook.RunAll(ctx, "poststop", k.Spec.Hooks.Poststop, k.State(record.Stopped), c.log.warn)
	}
	return k.Remove()
}
