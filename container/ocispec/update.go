package ocispec

import (
	"reflect"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// UpdateResources is what a running container's group gets to go from one host
// configuration to another. Limits that depend on each other (memory and swap,
// quota and period) are always written together, others only when they changed.
func UpdateResources(from, to *container.HostConfig, host Host) (*specs.LinuxResources, error) {
	all, err := resources(to, nil, host)
	if err != nil {
		return nil, err
	}
	old, err := resources(from, nil, host)
	if err != nil {
		return nil, err
	}
	out := &specs.LinuxResources{}
	if !reflect.DeepEqual(old.Memory, all.Memory) {
		out.Memory = all.Memory
		if out.Memory == nil {
			out.Memory = &specs.LinuxMemory{}
		}
		// Where there was a limit and is none now, none has to be said.
		if old.Memory != nil {
			none := int64(-1)
			if old.Memory.Limit != nil && out.Memory.Limit == nil {
				out.Memory.Limit = &none
			}
			if old.Memory.Swap != nil && out.Memory.Swap == nil {
				out.Memory.Swap = &none
			}
			if old.Memory.Reservation != nil && out.Memory.Reservation == nil {
				out.Memory.Reservation = &none
			}
		}
	}
	if !reflect.DeepEqual(old.CPU, all.CPU) {
		out.CPU = all.CPU
	}
	if !reflect.DeepEqual(old.BlockIO, all.BlockIO) && all.BlockIO != nil {
		out.BlockIO = all.BlockIO
		if old.BlockIO != nil {
			liftThrottles(out.BlockIO, old.BlockIO)
		}
	}
	if !reflect.DeepEqual(old.Pids, all.Pids) {
		out.Pids = all.Pids
	}
	return out, nil
}

// liftThrottles says "no limit" of the devices that had one and have none now.
func liftThrottles(to, from *specs.LinuxBlockIO) {
	for _, list := range []struct {
		to   *[]specs.LinuxThrottleDevice
		from []specs.LinuxThrottleDevice
	}{
		{&to.ThrottleReadBpsDevice, from.ThrottleReadBpsDevice}, {&to.ThrottleWriteBpsDevice, from.ThrottleWriteBpsDevice},
		{&to.ThrottleReadIOPSDevice, from.ThrottleReadIOPSDevice}, {&to.ThrottleWriteIOPSDevice, from.ThrottleWriteIOPSDevice},
	} {
		for _, d := range list.from {
			if !slices.ContainsFunc(*list.to, func(n specs.LinuxThrottleDevice) bool { return n.Major == d.Major && n.Minor == d.Minor }) {
				d.Rate = 0
				*list.to = append(*list.to, d)
			}
		}
	}
}
