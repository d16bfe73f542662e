// Package cdi gives containers the devices that CDI specifications describe
// (Container Device Interface, cncf-tags/container-device-interface): --device
// VENDOR/CLASS=NAME, and --gpus, which asks for devices of class gpu. What vendors'
// tools write to /etc/cdi and /var/run/cdi is read at each start that asks for
// devices, and trusted as the daemon's own configuration is.
//
// Limits: a specification's net devices and Intel RDT settings are refused by name.
package cdi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-containers/sampan/fault"
)

// DefaultDirs are where specifications lie; what the later one has wins.
func DefaultDirs() []string { return []string{"/etc/cdi", "/var/run/cdi"} }

const (
	maxFile  = 4 << 20
	maxFiles = 1000
)

// Spec is one file.
type Spec struct {
	Version string   `yaml:"cdiVersion"`
	Kind    string   `yaml:"kind"` // vendor/class
	Devices []Device `yaml:"devices"`
	Edits   Edits    `yaml:"containerEdits"`

	path string
}

// Device is one device of a kind.
type Device struct {
	Name  string `yaml:"name"`
	Edits Edits  `yaml:"containerEdits"`
}

// Edits is what a device changes in a container.
type Edits struct {
	Env            []string     `yaml:"env"`
	DeviceNodes    []DeviceNode `yaml:"deviceNodes"`
	NetDevices     []any        `yaml:"netDevices"`
	Hooks          []Hook       `yaml:"hooks"`
	Mounts         []Mount      `yaml:"mounts"`
	IntelRdt       any          `yaml:"intelRdt"`
	AdditionalGIDs []uint32     `yaml:"additionalGids"`
}

// DeviceNode is a node in the container. What is not given comes from the host's.
type DeviceNode struct {
	Path        string  `yaml:"path"`
	HostPath    string  `yaml:"hostPath"`
	Type        string  `yaml:"type"`
	Major       int64   `yaml:"major"`
	Minor       int64   `yaml:"minor"`
	FileMode    *uint32 `yaml:"fileMode"`
	Permissions string  `yaml:"permissions"`
	UID         *uint32 `yaml:"uid"`
	GID         *uint32 `yaml:"gid"`
}

// Hook is a program of the host that runs at a moment of the container's life.
type Hook struct {
	Name    string   `yaml:"hookName"`
	Path    string   `yaml:"path"`
	Args    []string `yaml:"args"`
	Env     []string `yaml:"env"`
	Timeout *int     `yaml:"timeout"`
}

// Mount is a bind of the host's.
type Mount struct {
	HostPath      string   `yaml:"hostPath"`
	ContainerPath string   `yaml:"containerPath"`
	Options       []string `yaml:"options"`
	Type          string   `yaml:"type"`
}

var (
	kindPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*$`)
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]*$`)
)

// Load reads all specifications of the directories, those of later ones last. A
// file that is broken is an error: a device that silently has another meaning is worse.
func Load(dirs []string) ([]*Spec, error) {
	var out []*Spec
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("CDI specifications: %w", err)
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); ext != ".json" && ext != ".yaml" || e.IsDir() {
				continue
			}
			s, err := read(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			if out = append(out, s); len(out) > maxFiles {
				return nil, fault.New(fault.Invalid, "CDI: more than %d specifications in %s", maxFiles, strings.Join(dirs, ", "))
			}
		}
	}
	return out, nil
}

func read(path string) (*Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("CDI specification: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("CDI specification: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fault.New(fault.Invalid, "CDI specification %s is larger than %d bytes", path, maxFile)
	}
	s, err := Parse(raw)
	if err != nil {
		return nil, fault.New(fault.Invalid, "CDI specification %s: %w (mend the file, or take it away)", path, err)
	}
	s.path = path
	return s, nil
}

// Parse reads a specification. YAML holds JSON.
func Parse(raw []byte) (*Spec, error) {
	var s Spec
	if err := yaml.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	switch {
	case s.Version == "":
		return nil, errors.New("it has no cdiVersion")
	case !kindPattern.MatchString(s.Kind):
		return nil, fmt.Errorf("kind %q is not of the form vendor/class", s.Kind)
	case len(s.Devices) == 0:
		return nil, errors.New("it has no devices")
	}
	for _, d := range s.Devices {
		if !namePattern.MatchString(d.Name) {
			return nil, fmt.Errorf("device name %q is invalid", d.Name)
		}
		if err := d.Edits.check(); err != nil {
			return nil, fmt.Errorf("device %s: %w", d.Name, err)
		}
	}
	return &s, s.Edits.check()
}

// check refuses what could not be carried out.
func (e *Edits) check() error {
	switch {
	case len(e.NetDevices) > 0:
		return errors.New("netDevices are not supported yet")
	case e.IntelRdt != nil:
		return errors.New("intelRdt is not supported yet")
	}
	for _, v := range e.Env {
		if !strings.Contains(v, "=") {
			return fmt.Errorf("environment variable %q has no value", v)
		}
	}
	for _, n := range e.DeviceNodes {
		if !filepath.IsAbs(n.Path) || n.HostPath != "" && !filepath.IsAbs(n.HostPath) {
			return fmt.Errorf("the device node %q has no absolute path", n.Path)
		}
		if strings.Trim(n.Permissions, "rwm") != "" {
			return fmt.Errorf("device node %s: permissions %q are not of r, w and m", n.Path, n.Permissions)
		}
	}
	for _, m := range e.Mounts {
		if !filepath.IsAbs(m.ContainerPath) || m.HostPath == "" {
			return fmt.Errorf("the mount %q at %q needs two absolute paths", m.HostPath, m.ContainerPath)
		}
	}
	for _, h := range e.Hooks {
		if !slices.Contains([]string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}, h.Name) {
			return fmt.Errorf("there is no hook %q", h.Name)
		}
		if !filepath.IsAbs(h.Path) {
			return fmt.Errorf("the program %q of hook %s is no absolute path", h.Path, h.Name)
		}
	}
	return nil
}
