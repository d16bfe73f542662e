package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"

	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/engine"
)

// runtimes is a flag value: NAME=PATH any number of times, or from daemon.json
// NAME={"path":PATH,"runtimeArgs":[…]}.
type runtimes map[string]request.Runtime

func (r *runtimes) String() string { return fmt.Sprint(slices.Sorted(maps.Keys(*r))) }
func (r *runtimes) Type() string   { return "runtime" }

func (r *runtimes) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" || value == "" {
		return fmt.Errorf("%q: want NAME=PATH", text)
	}
	if name == runtimeName {
		return fmt.Errorf("the name %s belongs to the built-in runtime", name)
	}
	if _, twice := (*r)[name]; twice {
		return fmt.Errorf("the runtime %s is given twice", name)
	}
	rt := request.Runtime{Path: value}
	if strings.HasPrefix(value, "{") {
		rt = request.Runtime{}
		dec := json.NewDecoder(strings.NewReader(value))
		dec.DisallowUnknownFields() // runtimeType and options are containerd's
		if err := dec.Decode(&rt); err != nil {
			return fmt.Errorf("runtime %s: %w (a runtime here has path and runtimeArgs)", name, err)
		}
		if rt.Path == "" {
			return fmt.Errorf("runtime %s has no path", name)
		}
	}
	if *r == nil {
		*r = runtimes{}
	}
	(*r)[name] = rt
	return nil
}

// checkRuntimes finds the programs. One that is missing stops the containers that ask
// for it and not the daemon: it may be installed later. runc needs no registration, as
// in Docker, where the machine has it.
func (c *config) checkRuntimes() error {
	for name, rt := range c.runtimes {
		if path, err := exec.LookPath(rt.Path); err == nil {
			c.runtimes[name] = request.Runtime{Path: path, Args: rt.Args}
		}
	}
	if path, err := exec.LookPath("runc"); err == nil && c.runtimes["runc"].Path == "" {
		_ = c.runtimes.Set("runc=" + path) // not there yet
	}
	d := request.Defaults{Runtime: c.defaultRuntime, Runtimes: c.runtimes}
	if _, err := d.FindRuntime(""); err != nil {
		return fmt.Errorf("--default-runtime: %w", err)
	}
	return nil
}

// listed is what info shows.
func (r runtimes) listed() map[string]system.Runtime {
	out := map[string]system.Runtime{runtimeName: {Path: engine.RuntimeBinary}}
	for name, rt := range r {
		out[name] = system.Runtime{Path: rt.Path, Args: rt.Args}
	}
	return out
}
