package request

import (
	"reflect"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

func conflict(format string, args ...any) error { return fault.New(fault.Conflict, format, args...) }

// Update merges an update request into a copy of the host configuration, with
// Docker's rules and words: a field that is zero stays as it was. warnings name what
// the machine cannot do.
func (d *Defaults) Update(now *container.HostConfig, u *container.UpdateConfig) (next *container.HostConfig, warnings []string, err error) {
	hc := *now
	r, cur := &u.Resources, &hc.Resources
	if err := updateConflict(r, cur); err != nil {
		return nil, nil, err
	}
	for _, f := range []struct{ to, from *int64 }{
		{&cur.CPUShares, &r.CPUShares}, {&cur.NanoCPUs, &r.NanoCPUs}, {&cur.CPUPeriod, &r.CPUPeriod}, {&cur.CPUQuota, &r.CPUQuota},
		{&cur.CPURealtimePeriod, &r.CPURealtimePeriod}, {&cur.CPURealtimeRuntime, &r.CPURealtimeRuntime},
		{&cur.Memory, &r.Memory}, {&cur.MemorySwap, &r.MemorySwap}, {&cur.MemoryReservation, &r.MemoryReservation},
	} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}
	if r.BlkioWeight != 0 {
		cur.BlkioWeight = r.BlkioWeight
	}
	if r.CpusetCpus != "" {
		cur.CpusetCpus = r.CpusetCpus
	}
	if r.CpusetMems != "" {
		cur.CpusetMems = r.CpusetMems
	}
	if r.PidsLimit != nil {
		cur.PidsLimit = r.PidsLimit
	}
	updateRest(cur, r)
	addLists(cur, r)
	warnings = d.degradeWeights(cur)
	if err := updateMissing(r); err != nil {
		return nil, nil, err
	}
	if !reflect.DeepEqual(now.Resources, hc.Resources) {
		if err := d.checkLimits(nil, &hc); err != nil {
			return nil, nil, err
		}
	}
	if u.RestartPolicy.Name != "" {
		if now.AutoRemove && !u.RestartPolicy.IsNone() {
			return nil, nil, conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
		}
		if err := container.ValidateRestartPolicy(u.RestartPolicy); err != nil {
			return nil, nil, fault.Wrap(fault.Invalid, err)
		}
		hc.RestartPolicy = u.RestartPolicy
	}
	return &hc, warnings, nil
}

// updateRest merges what docker's own client cannot send and Docker's daemon
// takes without a word: the limits of devices, the OOM killer and swappiness.
func updateRest(cur, r *container.Resources) {
	if r.OomKillDisable != nil && (*r.OomKillDisable || cur.OomKillDisable != nil) {
		cur.OomKillDisable = r.OomKillDisable
	}
	if r.MemorySwappiness != nil && *r.MemorySwappiness != -1 {
		cur.MemorySwappiness = r.MemorySwappiness
	}
	if len(r.BlkioWeightDevice) > 0 {
		cur.BlkioWeightDevice = r.BlkioWeightDevice
	}
	for _, f := range []struct{ to, from *[]*blkiodev.ThrottleDevice }{
		{&cur.BlkioDeviceReadBps, &r.BlkioDeviceReadBps}, {&cur.BlkioDeviceWriteBps, &r.BlkioDeviceWriteBps},
		{&cur.BlkioDeviceReadIOps, &r.BlkioDeviceReadIOps}, {&cur.BlkioDeviceWriteIOps, &r.BlkioDeviceWriteIOps},
	} {
		if len(*f.from) > 0 {
			*f.to = *f.from
		}
	}
}

// addLists adds devices, their rules and ulimits to those that the container has. An
// ulimit takes the place of the one of its name.
func addLists(cur, r *container.Resources) {
	cur.Devices = slices.Clone(cur.Devices)
	for _, d := range r.Devices {
		if !slices.Contains(cur.Devices, d) {
			cur.Devices = append(cur.Devices, d)
		}
	}
	cur.DeviceCgroupRules = slices.Clone(cur.DeviceCgroupRules)
	for _, rule := range r.DeviceCgroupRules {
		if !slices.Contains(cur.DeviceCgroupRules, rule) {
			cur.DeviceCgroupRules = append(cur.DeviceCgroupRules, rule)
		}
	}
	cur.Ulimits = slices.Clone(cur.Ulimits)
	for _, u := range r.Ulimits {
		cur.Ulimits = append(slices.DeleteFunc(cur.Ulimits, func(old *container.Ulimit) bool {
			return old != nil && u != nil && strings.EqualFold(old.Name, u.Name)
		}), u)
	}
}

// updateConflict refuses limits that contradict those the container has: --cpus
// is another form of the period and quota.
func updateConflict(r, cur *container.Resources) error {
	switch {
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set.")
	case r.NanoCPUs > 0 && cur.CPUPeriod > 0:
		return conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set")
	case r.NanoCPUs > 0 && cur.CPUQuota > 0:
		return conflict("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")
	case r.CPUPeriod > 0 && cur.NanoCPUs > 0:
		return conflict("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")
	case r.CPUQuota > 0 && cur.NanoCPUs > 0:
		return conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
	case r.Memory != 0 && r.Memory > cur.MemorySwap && r.MemorySwap == 0:
		return conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	}
	return nil
}

// updateMissing refuses by name what an update cannot change; Docker takes it
// and does nothing.
func updateMissing(r *container.Resources) error {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"CgroupParent", r.CgroupParent != ""}, {"DeviceRequests", len(r.DeviceRequests) > 0},
	} {
		if f.set {
			return notYet("%s cannot be changed by an update yet; create the container again with the new value", f.name)
		}
	}
	return nil
}
