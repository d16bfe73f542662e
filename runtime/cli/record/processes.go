package record

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/rootless"
)

// Group finds the container's control group; NotFound if it has none.
func (k *Container) Group() (*cgroup.Group, error) {
	if k.Cgroup == "" {
		return nil, fault.New(fault.NotFound, "container %s has no control group: its user may not make one", k.ID)
	}
	return cgroup.Load(k.Cgroup)
}

// Procs lists the processes of a container: of its group, or without one of its PID
// namespace.
func (k *Container) Procs() ([]int, error) {
	g, err := k.Group()
	if err == nil {
		defer g.Close()
		return g.Procs()
	}
	if k.Cgroup != "" || !k.Alive() {
		if errors.Is(err, fault.NotFound) {
			err = fault.New(fault.Conflict, "container not running: %s", k.ID)
		}
		return nil, err
	}
	if config.OwnsPids(k.SpecOrEmpty()) {
		return rootless.Members(k.Pid)
	}
	return []int{k.Pid}, nil // others cannot be told from those that are not the container's
}

// Signal sends a signal to the first process, and to no other that got its number.
func (k *Container) Signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(k.Pid, 0)
	if err == nil {
		defer unix.Close(fd)
		if !k.Alive() {
			err = unix.ESRCH
		}
	}
	if err == nil {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	if errors.Is(err, unix.ESRCH) {
		return fault.New(fault.Conflict, "container not running: %s", k.ID)
	}
	if err != nil {
		return fmt.Errorf("send signal %d to container %s: %w", int(sig), k.ID, err)
	}
	return nil
}

// SignalAll sends a signal to all processes of the container.
func (k *Container) SignalAll(sig unix.Signal) error {
	pids, err := k.Procs()
	if errors.Is(err, fault.Conflict) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("send signal %d to process %d of container %s: %w", int(sig), pid, k.ID, err)
		}
	}
	return nil
}

// EndWithoutGroup ends the first process, and with it all of its PID namespace.
func (k *Container) EndWithoutGroup(ctx context.Context) error {
	if !k.Alive() {
		return nil
	}
	if err := k.Signal(unix.SIGKILL); err != nil && !errors.Is(err, fault.Conflict) {
		return err
	}
	return rootless.Ended(ctx, k.Pid)
}
