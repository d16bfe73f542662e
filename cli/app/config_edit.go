package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Helper is the credential helper for a registry, or "".
func (c *Config) Helper(key string) string {
	if helper, ok := c.CredHelpers[key]; ok {
		return helper
	}
	return c.CredsStore
}

// ConfigDir is the directory of the configuration file, or "".
func (a *App) ConfigDir() string { return configDir(a.Global.ConfigDir) }

// EditConfig changes keys of the configuration file and leaves all others as they
// are. The file appears whole, for its owner alone; its path is returned.
func (a *App) EditConfig(edit func(values map[string]json.RawMessage) error) (string, error) {
	dir := a.ConfigDir()
	if dir == "" {
		return "", errors.New("there is no directory for the configuration file: set HOME or --config")
	}
	path := filepath.Join(dir, "config.json")
	// A link leads to where somebody keeps the file: it stays a link.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	values := map[string]json.RawMessage{}
	f, err := os.Open(path)
	switch {
	case err == nil:
		err = json.NewDecoder(io.LimitReader(f, maxConfig)).Decode(&values)
		f.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return path, fmt.Errorf("the configuration file %s is not valid, so nothing is changed in it: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return path, err
	}
	if err := edit(values); err != nil {
		return path, fmt.Errorf("change the configuration file %s: %w", path, err)
	}
	return path, writeConfig(path, values)
}

func writeConfig(path string, values map[string]json.RawMessage) error {
	raw, err := json.MarshalIndent(values, "", "\t")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".config-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if st, err := os.Stat(path); err == nil {
		_ = f.Chmod(st.Mode().Perm() &^ 0o077) // only ever fewer rights
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
