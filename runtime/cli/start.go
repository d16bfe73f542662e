package cli

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/hook"
)

func startCommand(c *call) (int, error) {
	args, err := c.parse(nil, 1, 1)
	if err != nil {
		return 0, err
	}
	k, err := c.open(args[0])
	if err != nil {
		return 0, err
	}
	defer k.close()
	switch status := k.status(); status {
	case created:
	case stopped:
		return 0, fault.New(fault.Conflict, "cannot start container %s: it has stopped; delete it and create it again", k.id)
	default:
		return 0, fault.New(fault.Conflict, "cannot start container %s: it is %s already", k.id, status)
	}
	if k.Spec.Process == nil {
		// There is nothing that it could become but stopped.
		if err := k.signal(unix.SIGKILL); err != nil && !errors.Is(err, fault.Conflict) {
			return 0, err
		}
		return 0, fault.New(fault.Invalid, "cannot start container %s: %s had no process when it was created", k.id, config.File)
	}
	if err := runtime.Release(context.Background(), k.path, k.Spec, k.state(created)); err != nil {
		return 0, fmt.Errorf("start container %s: %w", k.id, err)
	}
	if h := k.Spec.Hooks; h != nil {
		hook.RunAll(context.Background(), "poststart", h.Poststart, k.state(running), c.log.warn)
	}
	return 0, nil
}
