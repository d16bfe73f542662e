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

// maxConfig bounds the configuration file; real ones have a few kilobytes.
const maxConfig = 4 << 20

// Config is the part of Docker's client configuration (config.json) that this
// client uses; other keys are left alone.
type Config struct {
	DetachKeys     string            `json:"detachKeys"`
	PsFormat       string            `json:"psFormat"`
	StatsFormat    string            `json:"statsFormat"`
	ImagesFormat   string            `json:"imagesFormat"`
	NetworksFormat string            `json:"networksFormat"`
	VolumesFormat  string            `json:"volumesFormat"`
	PruneFilters   []string          `json:"pruneFilters"`
	HTTPHeaders    map[string]string `json:"HttpHeaders"`
	Auths          map[string]Auth   `json:"auths"`
	CredsStore     string            `json:"credsStore"`
	CredHelpers    map[string]string `json:"credHelpers"`
	CurrentContext string            `json:"currentContext"`
	PluginDirs     []string          `json:"cliPluginsExtraDirs"`
}

// Auth is one registry's stored login.
type Auth struct {
	Auth          string `json:"auth,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// configDir is --config, then DOCKER_CONFIG, then ~/.docker.
func configDir(flag string) string {
	if flag != "" {
		return flag
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker")
}

// loadConfig reads the file. A broken one is reported and then ignored, as
// Docker does: it must not stop `stop`.
func loadConfig(a *App) *Config {
	c := &Config{}
	dir := configDir(a.Global.ConfigDir)
	if dir == "" {
		return c
	}
	path := filepath.Join(dir, "config.json")
	f, err := os.Open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(a.Err.Text(), "WARNING: cannot read the configuration file: %v\n", err)
		}
		return c
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxConfig)).Decode(c); err != nil {
		fmt.Fprintf(a.Err.Text(), "WARNING: the configuration file %s is ignored: %v\n", path, err)
		return &Config{}
	}
	return c
}

// DetachKeys is the flag's value, or the configuration file's.
func (a *App) DetachKeys(flag string) string {
	if flag != "" {
		return flag
	}
	return a.Config().DetachKeys
}
