package volume

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// options are those that the local driver takes.
var options = []string{"type", "device", "o", "size"}

// checkOptions refuses options in Docker's words.
func checkOptions(name string, given map[string]string) error {
	if len(given) == 0 {
		return nil
	}
	for key, value := range given {
		if !slices.Contains(options, key) {
			return fault.New(fault.Invalid, "create %s: invalid option: %q", name, key)
		}
		if strings.IndexByte(value, 0) >= 0 {
			return fault.New(fault.Invalid, "create %s: option %q has a NUL byte", name, key)
		}
	}
	if err := checkSize(name, given); err != nil || !isMount(given) {
		return err
	}
	for _, key := range []string{"device", "type"} {
		if given[key] == "" {
			return fault.New(fault.Invalid, "create %s: missing required option: %q", name, key)
		}
	}
	return nil
}

// flags are the mount options that are bits of mount(2); false clears.
var flags = map[string]struct {
	set  bool
	flag uintptr
}{
	"ro": {true, unix.MS_RDONLY}, "rw": {false, unix.MS_RDONLY},
	"nosuid": {true, unix.MS_NOSUID}, "suid": {false, unix.MS_NOSUID},
	"nodev": {true, unix.MS_NODEV}, "dev": {false, unix.MS_NODEV},
	"noexec": {true, unix.MS_NOEXEC}, "exec": {false, unix.MS_NOEXEC},
	"sync": {true, unix.MS_SYNCHRONOUS}, "async": {false, unix.MS_SYNCHRONOUS},
	"dirsync": {true, unix.MS_DIRSYNC},
	"mand":    {true, unix.MS_MANDLOCK}, "nomand": {false, unix.MS_MANDLOCK},
	"noatime": {true, unix.MS_NOATIME}, "atime": {false, unix.MS_NOATIME},
	"nodiratime": {true, unix.MS_NODIRATIME}, "diratime": {false, unix.MS_NODIRATIME},
	"relatime": {true, unix.MS_RELATIME}, "norelatime": {false, unix.MS_RELATIME},
	"strictatime": {true, unix.MS_STRICTATIME}, "nostrictatime": {false, unix.MS_STRICTATIME},
	"bind": {true, unix.MS_BIND}, "rbind": {true, unix.MS_BIND | unix.MS_REC},
	"defaults": {true, 0},
}

// parseOptions splits the option o into flags and the file system's own text.
func parseOptions(text string) (bits uintptr, data string) {
	var rest []string
	for _, o := range strings.Split(text, ",") {
		f, known := flags[o]
		switch {
		case o == "":
		case !known:
			rest = append(rest, o)
		case f.set:
			bits |= f.flag
		default:
			bits &^= f.flag
		}
	}
	return bits, strings.Join(rest, ",")
}

// mounts knows who uses the volumes that are mounts.
type mounts struct {
	mu    sync.Mutex
	users map[string]map[string]bool // volume, then user
	busy  map[string]*sync.Mutex     // one mount(2) at a time per volume: it may hang for ever
}

func (m *mounts) used(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.users[name]) > 0
}

func (m *mounts) lock(name string) *sync.Mutex {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy[name] == nil {
		m.busy[name] = &sync.Mutex{}
	}
	return m.busy[name]
}

// add tells whether user is the volume's first.
func (m *mounts) add(name, user string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users[name] == nil {
		m.users[name] = map[string]bool{}
	}
	m.users[name][user] = true
}

// drop tells whether nobody is left.
func (m *mounts) drop(name, user string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.users[name], user)
	if len(m.users[name]) > 0 {
		return false
	}
	delete(m.users, name)
	return true
}

// Mount makes a volume ready for a user, whose name is any text. Volumes that are
// directories always are. It is idempotent.
func (l *Local) Mount(ctx context.Context, name, user string) error {
	v, err := l.Get(name)
	if err != nil || !v.Mounts() {
		return nil // the data directory is looked at by who mounts it
	}
	lock := l.mounts.lock(name)
	lock.Lock()
	defer lock.Unlock()
	l.mounts.add(name, user)
	if isMounted(l.Path(name)) {
		return nil
	}
	if err := mountVolume(ctx, v, l.Path(name)); err != nil {
		l.mounts.drop(name, user)
		return fault.New(fault.Unavailable, "failed to mount local volume: mount %s:%s, type %s, options %q: %w",
			v.Options["device"], l.Path(name), v.Options["type"], v.Options["o"], err)
	}
	return nil
}

func mountVolume(ctx context.Context, v *Volume, target string) error {
	bits, data := parseOptions(v.Options["o"])
	fstype := v.Options["type"]
	if strings.HasPrefix(fstype, "nfs") || fstype == "cifs" {
		var err error
		if data, err = resolve(ctx, data); err != nil {
			return err
		}
	}
	device := v.Options["device"]
	if bits&unix.MS_BIND == 0 {
		return unix.Mount(device, target, fstype, bits, data)
	}
	if err := unix.Mount(device, target, "", bits&(unix.MS_BIND|unix.MS_REC), ""); err != nil {
		return err
	}
	if rest := bits &^ (unix.MS_BIND | unix.MS_REC); rest != 0 {
		if err := unix.Mount("", target, "", rest|unix.MS_BIND|unix.MS_REMOUNT, ""); err != nil {
			return errors.Join(err, unmountAll(target))
		}
	}
	return nil
}

// resolve replaces the name in addr=NAME by its address: the kernel knows no names.
func resolve(ctx context.Context, data string) (string, error) {
	parts := strings.Split(data, ",")
	for i, p := range parts {
		host, ok := strings.CutPrefix(p, "addr=")
		if !ok || net.ParseIP(host) != nil {
			continue
		}
		addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
		if err != nil || len(addrs) == 0 {
			return "", fmt.Errorf("resolve the address of the server %q: %w", host, err)
		}
		parts[i] = "addr=" + addrs[0].String()
	}
	return strings.Join(parts, ","), nil
}

// Use notes a user of before a restart of the daemon; the mount is there.
func (l *Local) Use(name, user string) {
	if v, err := l.Get(name); err == nil && v.Mounts() {
		l.mounts.add(name, user)
	}
}

// Unmount ends a user's use. It is idempotent.
func (l *Local) Unmount(name, user string) error {
	v, err := l.Get(name)
	if err != nil || !v.Mounts() {
		return nil
	}
	lock := l.mounts.lock(name)
	lock.Lock()
	defer lock.Unlock()
	if !l.mounts.drop(name, user) {
		return nil
	}
	return unmountAll(l.Path(name))
}

// Sweep unmounts what nobody uses: containers that ended while no daemon was there.
func (l *Local) Sweep() error {
	var errs []error
	for _, v := range l.List() {
		if v.Mounts() && !l.mounts.used(v.Name) {
			errs = append(errs, unmountAll(l.Path(v.Name)))
		}
	}
	return errors.Join(errs...)
}

// unmountAll takes away what is mounted at path; nothing is no error.
func unmountAll(path string) error {
	const deepest = 16
	for range deepest {
		if !isMounted(path) {
			return nil
		}
		// MNT_DETACH: a container that ends just now must not make it fail, and a
		// dead NFS server must not hold the daemon up.
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return nil
}

// isMounted compares mount ids, and never asks the mounted file system itself.
func isMounted(path string) bool {
	up, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer up.Close()
	var st unix.Statx_t
	if err := unix.Statx(int(up.Fd()), filepath.Base(path), unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st); err != nil {
		return false
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
