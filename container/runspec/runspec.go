// Package runspec makes the OCI specification of a container's next run: it finds what
// package ocispec needs to know, in the layers and on the host.
package runspec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/cdi"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/container/volumes"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// Maker makes specifications.
type Maker struct {
	Containers *index.Index
	Paths      *layout.Paths
	Defaults   *request.Defaults
	Spec       ocispec.Defaults
	Host       ocispec.Host
	CDIDirs    []string // where specifications of devices lie
	filters    ocispec.Filters
}

// Run is what one run adds to the record.
type Run struct {
	Record *record.Record
	Shm    string        // what is mounted at /dev/shm; empty: a tmpfs of its own
	Remap  *userns.Remap // nil: the host's user namespace
	// Profile: config.json must have the seccomp profile, for a runtime that reads no
	// compiled filter.
	Profile bool
	// Filter is what Make compiled of the profile, or nil.
	Filter *seccomp.Filter
	// Held are directories that mounts refer to, open until the shim has started.
	Held []*os.File
}

// Make returns the text of config.json.
func (m *Maker) Make(run *Run) ([]byte, error) {
	rec := run.Record
	layers := append([]string{rec.Root.Upper}, rec.Root.Lower...)
	passwd, group, err := rootview.Accounts(layers)
	if err != nil {
		return nil, err
	}
	user, err := ocispec.ResolveUser(rec.Config.User, rec.HostConfig.GroupAdd, passwd, group)
	if err != nil {
		return nil, err
	}
	if err := links.Check(m.Containers, rec); err != nil {
		return nil, err
	}
	in := &ocispec.Input{
		ID: rec.ID, Path: rec.Path, Args: rec.Args,
		Config: links.Environment(m.Containers, rec), HostConfig: rec.HostConfig,
		User: user, Hostname: rec.Config.Hostname, Domainname: rec.Config.Domainname,
		CgroupsPath: m.Paths.CgroupsPath(rec), CgroupV2: m.Defaults.CgroupV2,
		ShmSource: run.Shm, Defaults: m.Spec, Host: m.Host,
	}
	if run.Remap != nil {
		in.UIDs, in.GIDs = run.Remap.UIDs, run.Remap.GIDs
	}
	builtIn := false
	if rec.HostConfig.Init != nil && *rec.HostConfig.Init {
		if in.InitPath = m.Defaults.InitPath; in.InitPath == "" {
			builtIn, in.InitPath = true, filepath.Join(m.Paths.RunDir(rec.ID), "init")
		}
	}
	if in.Mounts, err = m.mounts(run); err != nil {
		return nil, err
	}
	filters := &m.filters
	if run.Profile {
		filters = nil
	}
	spec, filter, err := ocispec.Build(in, filters)
	run.Filter = filter
	if err != nil {
		return nil, err
	}
	if requests := rec.HostConfig.DeviceRequests; len(requests) > 0 {
		if err := cdi.Apply(spec, requests, m.CDIDirs, m.Host); err != nil {
			return nil, err
		}
		if err := ocispec.Check(spec); err != nil {
			return nil, err
		}
	}
	if builtIn {
		program, err := launch.InitProgram(rec.Path, runtime.Candidates(rec.Path, spec.Process.Env))
		if err == nil {
			err = os.WriteFile(in.InitPath, program, 0o555)
		}
		if err != nil {
			return nil, fmt.Errorf("make the program of --init: %w", err)
		}
	}
	return json.Marshal(spec)
}

// mounts lists the user's mounts and the three files of the network.
func (m *Maker) mounts(run *Run) ([]ocispec.Mount, error) {
	rec := run.Record
	owner := m.Containers.NetworkOwner(rec)
	var out []ocispec.Mount
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		target := "/etc/" + name
		if slices.ContainsFunc(rec.Mounts, func(m mounts.Mount) bool { return m.Destination == target }) {
			continue
		}
		out = append(out, ocispec.Mount{Type: mount.TypeBind, Source: filepath.Join(m.Paths.DataDir(owner), name), Destination: target,
			ReadOnly: rec.HostConfig.ReadonlyRootfs, IDMap: run.Remap != nil})
	}
	for i := range rec.Mounts {
		one := rec.Mounts[i] // a copy: the record is everybody's
		mt := &one
		source := mt.Source
		var layers []string
		var err error
		switch mt.Type {
		case mount.TypeTmpfs:
		case mount.TypeImage:
			if layers, err = m.imageMount(run, mt); err != nil {
				return nil, err
			}
		default:
			if _, err := os.Stat(mt.Source); err != nil {
				return nil, fault.New(fault.Invalid, "mount %s at %s: %w (the source is missing on the host; create it, or remove and recreate the container)", mt.Source, mt.Destination, err)
			}
			if err := mounts.CheckPropagation(mt); err != nil {
				return nil, err
			}
		}
		held, err := volumes.Subpath(mt)
		if err != nil {
			return nil, err
		}
		if held != nil {
			run.Held = append(run.Held, held)
			// The shim opens what we resolved, whatever stands at the path by then.
			source = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), held.Fd())
		}
		out = append(out, ocispec.Mount{Type: mt.Type, Source: source, Layers: layers, Destination: mt.Destination, ReadOnly: mt.ReadOnly,
			Propagation: mt.Propagation, NonRecursive: mt.NonRecursive, RecursiveReadOnly: mt.ReadOnly && !mt.ShallowReadOnly, Options: mt.Options,
			IDMap: run.Remap != nil && mt.Type == mount.TypeVolume})
	}
	return out, nil
}

// imageMount prepares the mount of an image: its layers, or nothing if only a part of
// them is wanted, which is bound.
func (m *Maker) imageMount(run *Run, mt *mounts.Mount) (layers []string, err error) {
	if run.Remap != nil {
		return nil, fault.New(fault.NotImplemented, "mount image %s at %s: it is not available with user namespaces yet, since an overlay cannot be an idmapped mount (use --userns host)", mt.Name, mt.Destination)
	}
	dir := m.Paths.DataDir(run.Record.ID)
	if layers, err = volumes.Layers(mt, dir); err != nil || mt.Subpath == "" {
		return layers, err
	}
	mt.Layers = layers
	return nil, nil
}
