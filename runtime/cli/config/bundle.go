// Package config reads the input of the OCI runtime's commands: the configuration of a
// bundle, and other files of JSON, of a bounded size.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/ocijson"
	"github.com/sampan-containers/sampan/runtime/speccheck"
)

const (
	File = "config.json"
	Max  = 8 << 20

	// NoProgram stands for a program that the specification does not name.
	NoProgram = "/process-is-not-set"
)

// Load reads and checks a bundle's specification; raw is its text.
// A process is required when the container is started (config.md, process), so a create
// may do without.
func Load(dir string, hold bool) (bundle string, spec *specs.Spec, raw []byte, err error) {
	if dir == "" {
		dir = "."
	}
	if bundle, err = filepath.Abs(dir); err != nil {
		return "", nil, nil, err
	}
	name := filepath.Join(bundle, File)
	raw, err = readBounded(name)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, nil, fault.New(fault.Invalid, "the bundle %s has no %s; make one with sampan-runtime spec", bundle, File)
	}
	if err != nil {
		return "", nil, nil, err
	}
	if spec, err = ocijson.Decode(raw); err != nil {
		return "", nil, nil, fault.New(fault.Invalid, "%s is not valid: %w", name, err)
	}
	if spec.Root == nil {
		return "", nil, nil, fault.New(fault.Invalid, "%s has no root; name the root file system in root.path", File)
	}
	if spec.Process == nil && hold {
		spec.Process = &specs.Process{Args: []string{NoProgram}, Cwd: "/"}
	}
	return bundle, spec, raw, speccheck.Check(spec)
}

// ReadJSON decodes a file of at most Max bytes.
func ReadJSON(name string, to any) error {
	data, err := readBounded(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fault.New(fault.Invalid, "%s is not valid: %w", name, err)
	}
	return nil
}

// readBounded reads a file of at most Max bytes. What it does for a small one is
// what every start of a container waits for: three system calls.
func readBounded(name string) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	data := make([]byte, 0, 16<<10)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", name, err)
		case n == 0:
			return data, nil
		}
		data = data[:len(data)+n]
		if len(data) > Max {
			return nil, fault.New(fault.Invalid, "%s is larger than %d bytes", name, Max)
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
}
