package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// disk mounts a fresh file system; the driver btrfs needs one of its own.
func disk(t *testing.T, kind string) string {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs." + kind)
	if err != nil {
		t.Skipf("skipped: mkfs.%s is not installed", kind)
	}
	dir := t.TempDir()
	file, at := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	for _, argv := range [][]string{{"truncate", "-s", "300M", file}, {mkfs, "-q", file}, {"mkdir", at}, {"mount", "-o", "loop", file, at}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			if argv[0] == "mount" && bytes.Contains(out, []byte("unknown filesystem")) {
				t.Skipf("skipped: this kernel has no %s", kind)
			}
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Errorf("unmount: %v", err)
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	})
	return at
}

// copyTree is what package rootview does for the daemon, by cp and an overlay.
func copyTree(_ context.Context, layers []string, dir string) error {
	m, err := mountapi.Overlay{Lower: layers}.Mount()
	if err != nil {
		return err
	}
	defer m.Close()
	cmd := exec.Command("cp", "-a", "/proc/self/fd/3/.", dir)
	cmd.ExtraFiles = []*os.File{m}
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(string(out))
	}
	return nil
}

// Every driver has to pass this.
func TestDrivers(t *testing.T) {
	for _, name := range []string{"overlay2", "overlay", "vfs", "btrfs"} {
		t.Run(name, func(t *testing.T) {
			kind := "ext4"
			if name == "btrfs" {
				kind = name
			}
			conform(t, disk(t, kind), name)
		})
	}
}

func conform(t *testing.T, root, name string) {
	d, err := Open(root, name, copyTree)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { d.Close() }()
	lower, upper := filepath.Join(root, "lower"), filepath.Join(root, "top")
	for path, text := range map[string]string{lower + "/etc/base": "base", lower + "/etc/hidden": "x", lower + "/run/deep/file": "deep", upper + "/etc/own": "own"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(unix.Mknod(upper+"/etc/hidden", unix.S_IFCHR, 0), unix.Chmod(upper, 0o1751), os.Lchown(upper, 33, 33)); err != nil {
		t.Fatal(err)
	}
	m, err := d.Prepare(t.Context(), "c1", []string{upper, lower})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(m.Image(), ":"); got != upper+":"+lower {
		t.Errorf("it stands on %s", got)
	}
	at := show(t, m)
	var st unix.Stat_t
	if err := unix.Stat(at, &st); err != nil || st.Mode&0o7777 != 0o1751 || st.Uid != 33 {
		t.Errorf("the root has mode %o and owner %d, %v", st.Mode&0o7777, st.Uid, err)
	}
	if got, err := os.ReadFile(at + "/etc/base"); err != nil || string(got) != "base" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Lstat(at + "/etc/hidden"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the image hides shows: %v", err)
	}
	change(t, at)
	usage(t, d, m)
	if m.Plain() {
		compareDelta(t, root, m)
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	if again, err := d.Prepare(t.Context(), "c1", []string{upper, lower}); err != nil || again.Upper != m.Upper {
		t.Errorf("prepared again: %+v, %v", again, err)
	}
	second(t, d, []string{upper, lower})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(root, name, copyTree); err != nil { // a restart
		t.Fatal(err)
	}
	if at := show(t, m); true {
		if got, err := os.ReadFile(at + "/etc/new"); err != nil || string(got) != "new" {
			t.Errorf("after a restart: %q, %v", got, err)
		}
		if err := unix.Unmount(at, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep(func(id string) bool { return id == "c1" }); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"c1", "absent"} {
		if err := d.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	d.Wait()
	if left, err := os.ReadDir(root + "/containers"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, id := range []string{"", "..", "a/b"} {
		if _, err := d.Prepare(t.Context(), id, []string{lower}); !errors.Is(err, fault.Invalid) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if err := os.RemoveAll(upper); err != nil {
		t.Fatal(err)
	}
	// With its image gone, nothing of a driver stays.
	if err := d.Remove(t.Context(), "absent"); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(root + "/btrfs/*"); len(left) > 0 {
		t.Errorf("left of the image: %v", left)
	}
}

// show mounts a root as the shim would.
func show(t *testing.T, m Mount) string {
	t.Helper()
	f, err := mountapi.Overlay{Lower: m.Lower, Upper: m.Upper, Work: m.Work}.Mount()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := t.TempDir()
	if err := unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	return at
}

func change(t *testing.T, at string) {
	t.Helper()
	if err := errors.Join(
		os.WriteFile(at+"/etc/new", []byte("new"), 0o600),
		os.WriteFile(at+"/etc/base", []byte("changed"), 0o640),
		os.RemoveAll(at+"/run/deep"),
		os.Link(at+"/etc/new", at+"/etc/link"),
		os.Symlink("new", at+"/etc/sym"),
	); err != nil {
		t.Fatal(err)
	}
}

func usage(t *testing.T, d Driver, m Mount) {
	t.Helper()
	n, err := d.Usage(t.Context(), "c1")
	if err != nil || n < 3 || n > 64 {
		t.Errorf("usage %d, %v", n, err)
	}
	if n, err := d.Usage(t.Context(), "absent"); err != nil || n != 0 {
		t.Errorf("usage of an absent container: %d, %v", n, err)
	}
}

// compareDelta looks at the directory of changes that is made of a plain root.
func compareDelta(t *testing.T, dir string, m Mount) {
	t.Helper()
	f, err := mountapi.Overlay{Lower: m.Base}.Mount()
	if err != nil {
		t.Fatal(err)
	}
	image := inroot.From(f)
	defer image.Close()
	to := filepath.Join(dir, "delta")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := inroot.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	root, err := inroot.Open(m.Upper)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Delta(t.Context(), root, image, out); err != nil {
		t.Fatal(err)
	}
	var got []string
	err = filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != to {
			got = append(got, strings.TrimPrefix(path, to))
		}
		return err
	})
	if want := "/etc /etc/base /etc/link /etc/new /etc/sym /run /run/deep"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("delta %v, want %s; %v", got, want, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(to+"/run/deep", &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("what was removed is no whiteout: %o, %v", st.Mode, err)
	}
}

// second is a container of the same image: it sees nothing of the first.
func second(t *testing.T, d Driver, lowers []string) {
	t.Helper()
	m, err := d.Prepare(t.Context(), "c2", lowers)
	if err != nil {
		t.Fatal(err)
	}
	at := show(t, m)
	if got, err := os.ReadFile(at + "/etc/base"); err != nil || string(got) != "base" {
		t.Errorf("a second container sees %q, %v", got, err)
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
}

func TestDriversThatAreNot(t *testing.T) {
	for name, want := range map[string]string{
		"aufs": "Linux has no aufs", "devicemapper": "dropped it in version 25", "zfs": "not available", "x": "there is no storage driver",
	} {
		if _, err := Open(t.TempDir(), name, nil); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.TempDir(), "btrfs", nil); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is not on a btrfs") {
		t.Errorf("btrfs elsewhere: %v", err)
	}
}
