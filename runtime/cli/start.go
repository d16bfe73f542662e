package cli

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/hook"
)

func startCommand(c *call) (int, error) {
	args, err := c.parse(nil, 1, 1)
	if err != nil {
		return 0, err
	}
	k, err := c.records.Open(args[0])
	if err != nil {
		return 0, err
	}
	defer k.Close()
	switch status := k.Status(); status {
	case record.Created:
	case record.Stopped:
		return 0, fault.New(fault.Conflict, "cannot start container %s: it has stopped; delete it and create it again", k.ID)
	default:
		return 0, fault.New(fault.Conflict, "cannot start container %s: it is %s already", k.ID, status)
	}
	if k.Spec.Process == nil {
		// There is nothing that it could become but stopped.
		if err := k.Signal(unix.SIGKILL); err != nil && !errors.Is(err, fault.Conflict) {
			return 0, err
		}
		return 0, fault.New(fault.Invalid, "cannot start container %s: %s had no process when it was created", k.ID, config.File)
	}
	if err := runtime.Release(context.Background(), k.Dir(), k.Spec, k.State(record.Created)); err != nil {
		return 0, fmt.Errorf("start container %s: %w", k.ID, err)
	}
	if h := k.Spec.Hooks; h != nil {
		hook.RunAll(context.Background(), "poststart", h.Poststart, k.State(record.Running), c.log.warn)
	}
	return 0, nil
}
