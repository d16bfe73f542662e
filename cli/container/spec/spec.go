// Package spec turns the flags of `run` and `create` into the API's create
// request. The flags are grouped by what they touch; each group registers its
// flags and later applies them to the request, so that no single struct or
// function knows all of them.
//
// Nothing here talks to the daemon. Files that flags name (env files, label
// files, seccomp profiles) are read here, on the client's side.
package spec

import (
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"
)

// Request is what is sent to the daemon.
type Request struct {
	Config     *container.Config
	Host       *container.HostConfig
	Networking *network.NetworkingConfig
	Warnings   []string // to print with the daemon's
}

// group is one topic's flags.
type group interface {
	register(*pflag.FlagSet)
	// apply adds the flags to the request; set tells which were given.
	apply(r *Request, set func(name string) bool) error
}

// Flags are all flags that `run` and `create` share.
type Flags struct {
	set       *pflag.FlagSet
	streams   streams
	groups    []group
	lifecycle *lifecycle
}

// Register adds the flags to a command's flag set.
func Register(fs *pflag.FlagSet) *Flags {
	f := &Flags{set: fs, lifecycle: &lifecycle{}}
	f.groups = []group{
		&f.streams, newIdentity(), &process{}, f.lifecycle, newHealth(), newNetworking(), newPorts(),
		newMounts(), newSecurity(), &namespaces{}, &memory{}, &processors{}, newBlockIO(), newDevices(), newLogging(), &windows{},
	}
	for _, g := range f.groups {
		g.register(fs)
	}
	// The program's own --help has the shorthand -h, which is --hostname here.
	fs.Bool("help", false, "Print usage")
	fs.SetInterspersed(false)
	return f
}

// Build makes the request for an image and its command.
func (f *Flags) Build(image string, command []string) (*Request, error) {
	r := &Request{
		Config:     &container.Config{Image: image, Cmd: command},
		Host:       &container.HostConfig{},
		Networking: &network.NetworkingConfig{},
	}
	for _, g := range f.groups {
		if err := g.apply(r, f.set.Changed); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// AttachGiven tells whether -a was used, which conflicts with -d.
func (f *Flags) AttachGiven() bool { return len(f.streams.attach.Values) > 0 }
