package container

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/cli/format"
)

var listFormat = format.List{
	Table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
	Quiet: "{{.ID}}",
	Headers: map[string]string{
		"ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
		"RunningFor": "CREATED", "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Labels": "LABELS",
		"Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Platform": "PLATFORM",
	},
}

const (
	commandWidth = 20
	mountWidth   = 15
)

// usesSize: sizes are slow to compute, so they are asked for only if the
// format shows them.
func usesSize(format string) bool { return strings.Contains(format, ".Size") }

// row is one line of `ps`; its methods are the fields of --format.
type row struct {
	c    *container.Summary
	full bool
	size bool
}

func (*row) Row() {}

// Field is the text of the fields of the default table.
func (r *row) Field(name string) (text string, ok bool) {
	switch name {
	case "ID":
		return r.ID(), true
	case "Image":
		return r.Image(), true
	case "Command":
		return r.Command(), true
	case "RunningFor":
		return r.RunningFor(), true
	case "Status":
		return r.Status(), true
	case "Ports":
		return r.Ports(), true
	case "Names":
		return r.Names(), true
	}
	return "", false
}

// ID is the container's id.
func (r *row) ID() string { return format.ID(r.c.ID, r.full) }

// Names are all names, without those that links gave.
func (r *row) Names() string {
	var names []string
	for _, n := range r.c.Names {
		n = strings.TrimPrefix(n, "/")
		if r.full || !strings.Contains(n, "/") {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// Image is the name that was used to create the container, or an id.
func (r *row) Image() string {
	switch {
	case r.c.Image == "":
		return "<no image>"
	case r.full:
		return r.c.Image
	}
	if id := format.ID(r.c.ImageID, false); id != "" && id == format.ID(r.c.Image, false) {
		return id
	}
	// A name with a digest is long; the name alone is what people know.
	name, _, _ := strings.Cut(r.c.Image, "@")
	return name
}

// Command is quoted, since it may hold anything.
func (r *row) Command() string {
	command := r.c.Command
	if !r.full {
		command = format.Ellipsis(command, commandWidth)
	}
	return strconv.Quote(command)
}

// CreatedAt is the time of creation.
func (r *row) CreatedAt() string { return time.Unix(r.c.Created, 0).String() }

// RunningFor is the time since creation.
func (r *row) RunningFor() string { return format.Since(r.c.Created) }

// State is one word.
func (r *row) State() string { return string(r.c.State) }

// Status is the state with its time and exit code.
func (r *row) Status() string { return r.c.Status }

// Size is what the container wrote, and with its image.
func (r *row) Size() string {
	if !r.size {
		return "0B"
	}
	size := format.Size(r.c.SizeRw)
	if r.c.SizeRootFs > 0 {
		size += fmt.Sprintf(" (virtual %s)", format.Size(r.c.SizeRootFs))
	}
	return size
}

// Labels are all labels.
func (r *row) Labels() string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(r.c.Labels)) {
		out = append(out, key+"="+r.c.Labels[key])
	}
	return strings.Join(out, ",")
}

// Label is the value of one label.
func (r *row) Label(key string) string { return r.c.Labels[key] }

// Mounts are the names of volumes and the sources of binds.
func (r *row) Mounts() string {
	var out []string
	for _, m := range r.c.Mounts {
		name := m.Name
		if name == "" {
			name = m.Source
		}
		if !r.full {
			name = format.Ellipsis(name, mountWidth)
		}
		out = append(out, name)
	}
	return strings.Join(out, ",")
}

// LocalVolumes counts volumes of the local driver.
func (r *row) LocalVolumes() string {
	n := 0
	for _, m := range r.c.Mounts {
		if m.Driver == "local" {
			n++
		}
	}
	return strconv.Itoa(n)
}

// Networks are the names of the networks.
func (r *row) Networks() string {
	if r.c.NetworkSettings == nil {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(r.c.NetworkSettings.Networks)), ",")
}

// Ports are the published and exposed ports; see portList.
func (r *row) Ports() string { return portList(r.c.Ports) }

// Platform is the platform of the image, if the daemon says which it took.
func (r *row) Platform() *platform {
	if d := r.c.ImageManifestDescriptor; d != nil && d.Platform != nil {
		return &platform{d.Platform.OS, d.Platform.Architecture, d.Platform.Variant}
	}
	return nil
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// String is the form of --platform.
func (p *platform) String() string {
	if p == nil {
		return ""
	}
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}
