package spec

import (
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// devices: devices of the host.
type devices struct {
	devices, rules value.List
	gpus           value.GPUs
}

func newDevices() *devices {
	return &devices{devices: value.NewList(value.CheckDevice), rules: value.NewList(value.CheckDeviceRule)}
}

func (d *devices) register(fs *pflag.FlagSet) {
	fs.Var(&d.devices, "device", "Add a host device (HOST[:CONTAINER][:PERMISSIONS])")
	fs.Var(&d.rules, "device-cgroup-rule", "Add a rule to the list of allowed devices")
	fs.Var(&d.gpus, "gpus", "Add GPUs ('all' for all of them)")
}

func (d *devices) apply(r *Request, _ func(string) bool) error {
	h := &r.Host.Resources
	h.Devices = []container.DeviceMapping{}
	h.DeviceRequests, h.DeviceCgroupRules = d.gpus.Values, d.rules.Values
	var cdi []string
	for _, spec := range d.devices.Values {
		if value.IsCDI(spec) {
			cdi = append(cdi, spec)
			continue
		}
		mapping, err := value.Device(spec)
		if err != nil {
			return err
		}
		h.Devices = append(h.Devices, mapping)
	}
	if len(cdi) > 0 {
		h.DeviceRequests = append(h.DeviceRequests, container.DeviceRequest{Driver: "cdi", DeviceIDs: cdi})
	}
	return nil
}
