package ocispec

import (
	"reflect"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// UpdateDevices is what a container gets to go from one host configuration to another:
// the device nodes that it lacks, and all rules of its device filter; nil where
// nothing changes.
func UpdateDevices(from, to *container.HostConfig, host Host) (nodes []specs.LinuxDevice, rules []specs.LinuxDeviceCgroup, err error) {
	if reflect.DeepEqual(from.Devices, to.Devices) && reflect.DeepEqual(from.DeviceCgroupRules, to.DeviceCgroupRules) || to.Privileged {
		return nil, nil, nil
	}
	if len(to.DeviceRequests) > 0 {
		return nil, nil, fault.New(fault.NotImplemented, "the devices of a container with devices of a CDI specification cannot be changed; create it again")
	}
	all, rules, err := devices(&Input{HostConfig: to, Host: host})
	if err != nil {
		return nil, nil, err
	}
	// What it had may have gone from the host: that is no matter now.
	old, _, _ := devices(&Input{HostConfig: from, Host: host})
	for _, d := range all {
		if !slices.ContainsFunc(old, func(o specs.LinuxDevice) bool { return o.Path == d.Path }) {
			nodes = append(nodes, d)
		}
	}
	return nodes, rules, nil
}
