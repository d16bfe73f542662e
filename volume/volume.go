// Package volume owns named volumes: directories that outlive containers. So far
// it is the local driver, a directory volumes/NAME/_data below the data root,
// without options; the volume routes of the API come later and keep this layout.
package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// LocalDriver is the name of the only driver.
	LocalDriver = "local"

	namePattern = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
	// maxName keeps a name below what a file name may hold on every file system.
	maxName = 250
	// stagePrefix marks a volume that is being filled; no name begins so.
	stagePrefix = ".new-"
)

var validName = regexp.MustCompile(`^` + namePattern + `+$`)

// CheckName refuses names that cannot be a volume's, with Docker's words.
func CheckName(name string) error {
	if len(name) == 1 {
		return fault.New(fault.Invalid, "create %s: volume name is too short, names should be at least two alphanumeric characters", name)
	}
	if !validName.MatchString(name) || len(name) > maxName {
		return fault.New(fault.Invalid, "create %s: %q includes invalid characters for a local volume name, only %q are allowed. If you intended to pass a host directory, use absolute path", name, name, namePattern)
	}
	return nil
}

// Local holds the volumes of one data root. It is safe for concurrent use.
type Local struct {
	root string
	mu   sync.Mutex // one volume is made or removed at a time
}

// Open makes the directory of volumes below the data root if needed, and removes
// volumes that a crash left half filled.
func Open(dataRoot string) (*Local, error) {
	l := &Local{root: filepath.Join(dataRoot, "volumes")}
	if err := os.MkdirAll(l.root, 0o700); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	entries, err := os.ReadDir(l.root)
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagePrefix) {
			if err := os.RemoveAll(filepath.Join(l.root, e.Name())); err != nil {
				return nil, fmt.Errorf("remove a half-made volume: %w", err)
			}
		}
	}
	return l, nil
}

// Path is where a volume's data is, whether it exists or not.
func (l *Local) Path(name string) string { return filepath.Join(l.root, name, "_data") }

// Ensure finds or makes a volume and tells whether it is new. fill, if not nil,
// is called with the directory of a new or empty volume. A new volume appears by
// a rename once its content is whole, so that a crash leaves no half copy.
func (l *Local) Ensure(name string, fill func(dir string) error) (fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	data := l.Path(name)
	if _, err := os.Stat(data); err == nil {
		// An empty volume gets the image's content at its first use, whoever made it.
		if fill == nil || !empty(data) {
			return false, nil
		}
		return false, fill(data)
	}
	stage := filepath.Join(l.root, stagePrefix+name)
	if err := os.RemoveAll(stage); err != nil {
		return false, fmt.Errorf("create volume %s: %w", name, err)
	}
	staged := filepath.Join(stage, "_data")
	if err := os.MkdirAll(staged, 0o755); err != nil {
		return false, fmt.Errorf("create volume %s: %w", name, err)
	}
	if fill != nil {
		err = fill(staged)
	}
	if err == nil {
		err = os.Rename(stage, filepath.Dir(data))
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("create volume %s: %w", name, err), os.RemoveAll(stage))
	}
	return true, nil
}

func empty(path string) bool {
	d, err := os.Open(path)
	if err != nil {
		return false
	}
	defer d.Close()
	names, err := d.Readdirnames(1)
	return len(names) == 0 && err != nil
}

// Remove deletes the volumes that inUse does not hold on to; a missing one is no
// error.
func (l *Local) Remove(names []string, inUse func(name string) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, n := range names {
		if inUse(n) {
			continue
		}
		if err := os.RemoveAll(filepath.Dir(l.Path(n))); err != nil {
			errs = append(errs, fault.New(fault.Unavailable, "remove volume %s: %w", n, err))
		}
	}
	return errors.Join(errs...)
}
