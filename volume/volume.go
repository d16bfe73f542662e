// Package volume owns named volumes: directories that outlive containers. It is
// the local driver: a directory volumes/NAME/_data below the data root, with
// volume.json beside it. A volume with the options type and device is a mount
// at that directory, made for its first user and taken away with its last.
//
// Limits: the local driver is the only one; option size needs a file system with
// project quotas (kernel/quota).
package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/quota"
)

const (
	// LocalDriver is the name of the only driver.
	LocalDriver = "local"

	namePattern = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
	// maxName keeps a name below what a file name may hold on every file system.
	maxName = 250
	// stagePrefix marks a volume that is being filled; no name begins so.
	stagePrefix = ".new-"
	// gonePrefix marks one that is being deleted.
	gonePrefix = ".gone-"
	infoFile   = "volume.json"
	// maxInfo bounds a volume's description, which is kept in memory.
	maxInfo = 1 << 20
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

// Volume is what is known of one volume.
type Volume struct {
	Name      string            `json:"name"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels,omitzero"`
	Options   map[string]string `json:"options,omitzero"`
	Anonymous bool              `json:"anonymous,omitempty"` // nobody chose its name
}

// Local holds the volumes of one data root. It is safe for concurrent use.
type Local struct {
	root string
	mu   sync.Mutex // one volume is made or removed at a time

	index   sync.RWMutex // guards volumes; held for look-ups only
	volumes map[string]*Volume

	mounts mounts
	holds  holds
	limits bool // the file system has project quotas in force
}

// AnonymousLabel marks a volume whose name nobody chose.
const AnonymousLabel = "com.docker.volume.anonymous"

// AnonymousLabels returns labels with that mark.
func AnonymousLabels(labels map[string]string) map[string]string {
	out := map[string]string{AnonymousLabel: ""}
	maps.Copy(out, labels)
	return out
}

// holds keeps volumes that nobody is recorded to use yet.
type holds struct {
	mu sync.Mutex
	by map[string]map[string]bool // volume, then holder
}

// Hold keeps a volume, which need not exist yet, from Remove.
func (l *Local) Hold(name, holder string) {
	l.holds.mu.Lock()
	defer l.holds.mu.Unlock()
	if l.holds.by == nil {
		l.holds.by = map[string]map[string]bool{}
	}
	if l.holds.by[name] == nil {
		l.holds.by[name] = map[string]bool{}
	}
	l.holds.by[name][holder] = true
}

// LetGo ends a hold.
func (l *Local) LetGo(name, holder string) {
	l.holds.mu.Lock()
	defer l.holds.mu.Unlock()
	if delete(l.holds.by[name], holder); len(l.holds.by[name]) == 0 {
		delete(l.holds.by, name)
	}
}

func (l *Local) held(name string) bool {
	l.holds.mu.Lock()
	defer l.holds.mu.Unlock()
	return len(l.holds.by[name]) > 0
}

// Open makes the directory of volumes below the data root if needed, and removes
// volumes that a crash left half filled or half removed.
func Open(dataRoot string) (*Local, error) {
	l := &Local{root: filepath.Join(dataRoot, "volumes"), volumes: map[string]*Volume{}, mounts: mounts{users: map[string]map[string]bool{}, busy: map[string]*sync.Mutex{}}}
	if err := os.MkdirAll(l.root, 0o700); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	l.limits = quota.Probe(l.root) == nil
	entries, err := os.ReadDir(l.root)
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagePrefix) || strings.HasPrefix(e.Name(), gonePrefix) {
			if err := removeTree(filepath.Join(l.root, e.Name())); err != nil {
				return nil, fmt.Errorf("remove a half-made volume: %w", err)
			}
			continue
		}
		if CheckName(e.Name()) == nil && e.IsDir() {
			l.volumes[e.Name()] = l.load(e.Name())
		}
	}
	return l, nil
}

// load reads what is known of a volume; one without a description, or with a
// damaged one, is still a volume with data.
func (l *Local) load(name string) *Volume {
	v := &Volume{}
	raw, err := os.ReadFile(filepath.Join(l.root, name, infoFile))
	if err == nil && len(raw) <= maxInfo {
		err = json.Unmarshal(raw, v)
	}
	v.Name = name
	if err != nil {
		*v = Volume{Name: name}
		if st, err := os.Stat(l.Path(name)); err == nil {
			v.Created = st.ModTime()
		}
	}
	return v
}

// Path is where a volume's data is, whether it exists or not.
func (l *Local) Path(name string) string { return filepath.Join(l.root, name, "_data") }

// Get returns a volume, or fault.NotFound in Docker's words.
func (l *Local) Get(name string) (*Volume, error) {
	l.index.RLock()
	defer l.index.RUnlock()
	if v := l.volumes[name]; v != nil {
		return v, nil
	}
	return nil, fault.New(fault.NotFound, "get %s: no such volume", name)
}

// List returns all volumes, sorted by name. They are shared: not to be changed.
func (l *Local) List() []*Volume {
	l.index.RLock()
	defer l.index.RUnlock()
	out := make([]*Volume, 0, len(l.volumes))
	for _, v := range l.volumes {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b *Volume) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Ensure finds the volume of v's name or makes v, and tells whether it is new. An
// existing one must have the same options (fault.Conflict) unless v has none;
// its labels stay. fill, if not nil, is called with the directory of a new or
// empty volume. A new volume appears by a rename once its content is whole, so
// that a crash leaves no half copy.
func (l *Local) Ensure(v Volume, fill func(dir string) error) (fresh bool, err error) {
	if err := v.check(); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	data := l.Path(v.Name)
	if old, err := l.Get(v.Name); err == nil {
		if len(v.Options) > 0 && !maps.Equal(v.Options, old.Options) {
			return false, fault.New(fault.Conflict, "create %s: volume %s exists with other options; remove it first, or choose another name", v.Name, v.Name)
		}
		// An empty volume gets the image's content at its first use, whoever made it.
		if fill == nil || old.Mounts() || !empty(data) {
			return false, nil
		}
		return false, fill(data)
	}
	if v.Created.IsZero() {
		v.Created = time.Now()
	}
	if err := l.create(&v, fill); err != nil {
		return false, err
	}
	l.index.Lock()
	l.volumes[v.Name] = &v
	l.index.Unlock()
	return true, nil
}

func (l *Local) create(v *Volume, fill func(dir string) error) error {
	stage := filepath.Join(l.root, stagePrefix+v.Name)
	if err := os.RemoveAll(stage); err != nil {
		return fmt.Errorf("create volume %s: %w", v.Name, err)
	}
	staged := filepath.Join(stage, "_data")
	if err := os.MkdirAll(staged, 0o755); err != nil {
		return fmt.Errorf("create volume %s: %w", v.Name, err)
	}
	raw, err := json.Marshal(v)
	if err == nil {
		err = writeSynced(filepath.Join(stage, infoFile), raw)
	}
	if err == nil {
		err = l.limit(v, staged)
	}
	if err == nil && fill != nil && !v.Mounts() {
		err = fill(staged)
	}
	if err == nil {
		err = os.Rename(stage, filepath.Join(l.root, v.Name))
	}
	if err == nil {
		err = durable.SyncDir(l.root)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("create volume %s: %w", v.Name, err), l.release(staged), os.RemoveAll(stage))
	}
	return nil
}

// check refuses what cannot be a volume.
func (v *Volume) check() error {
	if err := CheckName(v.Name); err != nil {
		return err
	}
	size := 0
	for _, m := range []map[string]string{v.Labels, v.Options} {
		for k, value := range m {
			size += len(k) + len(value)
		}
	}
	if size > maxInfo/2 {
		return fault.New(fault.Invalid, "create %s: labels and options have %d bytes, more than the limit of %d", v.Name, size, maxInfo/2)
	}
	return checkOptions(v.Name, v.Options)
}

func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
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

// Remove deletes the volumes that inUse does not hold on to, and returns which went; a
// missing one is no error. A volume disappears by one rename.
func (l *Local) Remove(names []string, inUse func(name string) bool) (gone []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, n := range names {
		if _, err := l.Get(n); err != nil || inUse(n) || l.held(n) || l.mounts.used(n) {
			continue
		}
		if err := l.remove(n); err != nil {
			errs = append(errs, fault.New(fault.Unavailable, "remove volume %s: %w", n, err))
			continue
		}
		gone = append(gone, n)
	}
	return gone, errors.Join(errs...)
}

func (l *Local) remove(name string) error {
	// A mount that a killed daemon left would be emptied with the directory.
	if err := unmountAll(l.Path(name)); err != nil {
		return err
	}
	if err := l.release(l.Path(name)); err != nil {
		return err
	}
	dir := filepath.Join(l.root, gonePrefix+name)
	if err := removeTree(dir); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(l.root, name), dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l.index.Lock()
	delete(l.volumes, name)
	l.index.Unlock()
	return removeTree(dir)
}

// removeTree refuses to enter file systems that are mounted below path.
func removeTree(path string) error {
	root, err := inroot.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(filepath.Base(path))
}
