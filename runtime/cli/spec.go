package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/example"
)

func specCommand(c *call) (int, error) {
	var bundle string
	var noRoot, explain bool
	if _, err := c.parse(flags{
		{names: "bundle b", text: &bundle, about: "where to write it (default: the current directory)"},
		{names: "rootless", set: &noRoot, about: "generate a configuration for a rootless container"},
		{names: "explain", set: &explain, about: "print what starting the bundle would do, step by step, and do nothing"},
	}, 0, 0); err != nil {
		return 0, err
	}
	if explain {
		return 0, c.explain(bundle)
	}
	spec := example.Spec(onlyUnified())
	if noRoot {
		example.Rootless(spec, os.Geteuid(), os.Getegid())
	}
	data, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return 0, err
	}
	name := filepath.Join(bundle, config.File)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return 0, fault.New(fault.Conflict, "%s exists already; remove it first", name)
	}
	if err != nil {
		return 0, fmt.Errorf("write the example: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	return 0, errors.Join(err, f.Close())
}

// onlyUnified reports whether the machine has control groups of version 2 alone.
func onlyUnified() bool {
	var fs unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}
