package cdi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

// chosen is one device with the specification that it stands in.
type chosen struct {
	spec   *Spec
	device *Device
}

// Select finds the devices that requests ask for. Its errors are fault.Invalid.
func Select(specs []*Spec, requests []container.DeviceRequest, dirs []string) ([]chosen, error) {
	var out []chosen
	add := func(found ...chosen) {
		for _, c := range found {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	for i := range requests {
		r := &requests[i]
		if r.Driver == "cdi" {
			for _, name := range r.DeviceIDs {
				c, err := find(specs, name, dirs)
				if err != nil {
					return nil, err
				}
				add(c)
			}
			continue
		}
		found, err := gpus(specs, r, dirs)
		if err != nil {
			return nil, err
		}
		add(found...)
	}
	return out, nil
}

// find looks for vendor/class=name; the file read last wins.
func find(specs []*Spec, full string, dirs []string) (chosen, error) {
	kind, name, ok := strings.Cut(full, "=")
	if !ok || !kindPattern.MatchString(kind) || !namePattern.MatchString(name) {
		return chosen{}, fault.New(fault.Invalid, "CDI device %q: want vendor/class=name", full)
	}
	for _, s := range slices.Backward(specs) {
		if s.Kind != kind {
			continue
		}
		for i := range s.Devices {
			if s.Devices[i].Name == name {
				return chosen{s, &s.Devices[i]}, nil
			}
		}
	}
	return chosen{}, fault.New(fault.Invalid, "CDI device injection failed: unresolvable CDI devices %s (known are: %s; specifications are read from %s)",
		full, known(specs), strings.Join(dirs, ", "))
}

func known(specs []*Spec) string {
	const most = 20
	var names []string
	for _, s := range specs {
		for _, d := range s.Devices {
			names = append(names, s.Kind+"="+d.Name)
		}
	}
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		names = append(names[:most], "…")
	}
	return strings.Join(names, ", ")
}

// gpus answers --gpus by devices of class gpu.
func gpus(specs []*Spec, r *container.DeviceRequest, dirs []string) ([]chosen, error) {
	wanted := false
	for _, set := range r.Capabilities {
		wanted = wanted || slices.Contains(set, "gpu")
	}
	kind := ""
	for _, s := range specs {
		vendor, class, _ := strings.Cut(s.Kind, "/")
		if class == "gpu" && (r.Driver == "" || strings.HasPrefix(vendor, r.Driver)) {
			kind = s.Kind
			break
		}
	}
	if !wanted || kind == "" {
		return nil, fault.New(fault.Invalid, "could not select device driver %q with capabilities: %v (there is no CDI specification of class gpu in %s; a vendor's tool makes one, such as: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml)",
			r.Driver, r.Capabilities, strings.Join(dirs, " and "))
	}
	names := r.DeviceIDs
	switch {
	case len(names) > 0:
	case r.Count < 0:
		if c, err := find(specs, kind+"=all", dirs); err == nil {
			return []chosen{c}, nil
		}
		for _, s := range specs {
			for _, d := range s.Devices {
				if s.Kind == kind && !slices.Contains(names, d.Name) {
					names = append(names, d.Name)
				}
			}
		}
	default:
		for i := range r.Count {
			names = append(names, strconv.Itoa(i))
		}
	}
	var out []chosen
	for _, name := range names {
		c, err := find(specs, fmt.Sprintf("%s=%s", kind, name), dirs)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}
