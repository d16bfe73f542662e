package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/speccheck"
)

const (
	configFile = "config.json"
	maxConfig  = 8 << 20
)

// loadBundle reads and checks a bundle's specification.
func loadBundle(dir string) (bundle string, spec *specs.Spec, err error) {
	if dir == "" {
		dir = "."
	}
	if bundle, err = filepath.Abs(dir); err != nil {
		return "", nil, err
	}
	spec = new(specs.Spec)
	if err := readJSON(filepath.Join(bundle, configFile), spec); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return "", nil, fault.New(fault.Invalid, "the bundle %s has no %s; make one with sampan-runtime spec", bundle, configFile)
		}
		return "", nil, err
	}
	if spec.Root == nil {
		return "", nil, fault.New(fault.Invalid, "%s has no root; name the root file system in root.path", configFile)
	}
	return bundle, spec, speccheck.Check(spec)
}

// readJSON decodes a file of at most maxConfig bytes.
func readJSON(name string, to any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxConfig {
		return fault.New(fault.Invalid, "%s is larger than %d bytes", name, maxConfig)
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fault.New(fault.Invalid, "%s is not valid: %w", name, err)
	}
	return nil
}
