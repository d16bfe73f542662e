package cli

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
	configFile = "config.json"
	maxConfig  = 8 << 20

	// noProgram stands for a program that the specification does not name.
	noProgram = "/process-is-not-set"
)

// loadBundle reads and checks a bundle's specification; raw is its text.
// A process is required when the container is started (config.md, process), so a create
// may do without.
func loadBundle(dir string, hold bool) (bundle string, spec *specs.Spec, raw []byte, err error) {
	if dir == "" {
		dir = "."
	}
	if bundle, err = filepath.Abs(dir); err != nil {
		return "", nil, nil, err
	}
	name := filepath.Join(bundle, configFile)
	raw, err = readBounded(name)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, nil, fault.New(fault.Invalid, "the bundle %s has no %s; make one with sampan-runtime spec", bundle, configFile)
	}
	if err != nil {
		return "", nil, nil, err
	}
	if spec, err = ocijson.Decode(raw); err != nil {
		return "", nil, nil, fault.New(fault.Invalid, "%s is not valid: %w", name, err)
	}
	if spec.Root == nil {
		return "", nil, nil, fault.New(fault.Invalid, "%s has no root; name the root file system in root.path", configFile)
	}
	if spec.Process == nil && hold {
		spec.Process = &specs.Process{Args: []string{noProgram}, Cwd: "/"}
	}
	return bundle, spec, raw, speccheck.Check(spec)
}

// readJSON decodes a file of at most maxConfig bytes.
func readJSON(name string, to any) error {
	data, err := readBounded(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fault.New(fault.Invalid, "%s is not valid: %w", name, err)
	}
	return nil
}

// readBounded reads a file of at most maxConfig bytes. What it does for a small one is
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
		if len(data) > maxConfig {
			return nil, fault.New(fault.Invalid, "%s is larger than %d bytes", name, maxConfig)
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
}
