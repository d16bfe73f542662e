package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: a root directory's owner is copied, so these tests need root")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, root string) *Overlay {
	t.Helper()
	o, err := openOverlay(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func lower(t *testing.T, mode uint32, uid int) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Lchown(dir, uid, uid), unix.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPrepare(t *testing.T) {
	root := t.TempDir()
	o := open(t, root)
	top := lower(t, 0o1751, 33)
	lowers := []string{top, lower(t, 0o755, 0)}
	m, err := o.Prepare(t.Context(), "c1", lowers)
	if err != nil {
		t.Fatal(err)
	}
	if m.Upper != filepath.Join(root, "containers/c1/upper") || m.Work != filepath.Join(root, "containers/c1/work") || strings.Join(m.Lower, ":") != strings.Join(lowers, ":") {
		t.Errorf("Mount = %+v", m)
	}
	var st unix.Stat_t
	if err := unix.Stat(m.Upper, &st); err != nil || st.Mode&0o7777 != 0o1751 || st.Uid != 33 || st.Gid != 33 {
		t.Errorf("upper has mode %o, owner %d:%d, %v: it must look like the image's root", st.Mode&0o7777, st.Uid, st.Gid, err)
	}
	if err := unix.Stat(o.Dir("c1"), &st); err != nil || st.Mode&0o7777 != 0o700 {
		t.Errorf("the container's directory has mode %o, %v", st.Mode&0o7777, err)
	}
	if err := os.WriteFile(filepath.Join(m.Upper, "kept"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := o.Prepare(t.Context(), "c1", lowers); err != nil || again.Upper != m.Upper {
		t.Errorf("second Prepare = %+v, %v", again, err)
	}
	if n, err := o.Usage(t.Context(), "c1"); err != nil || n != 5 {
		t.Errorf("Usage = %d, %v", n, err)
	}
}

func TestPrepareAfterACrash(t *testing.T) {
	o := open(t, t.TempDir())
	// Between making the new upper and renaming it.
	if err := os.MkdirAll(filepath.Join(o.Dir("c1"), "upper.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	m, err := o.Prepare(t.Context(), "c1", []string{lower(t, 0o711, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(m.Upper); err != nil || st.Mode().Perm() != 0o711 {
		t.Errorf("upper: %v, %v", st, err)
	}
}

func TestMountable(t *testing.T) {
	o := open(t, t.TempDir())
	m, err := o.Prepare(t.Context(), "c1", []string{lower(t, 0o755, 0)})
	if err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	err = unix.Mount("overlay", at, "overlay", 0, "lowerdir="+strings.Join(m.Lower, ":")+",upperdir="+m.Upper+",workdir="+m.Work)
	if err != nil {
		t.Skipf("this machine cannot mount overlay here: %v", err)
	}
	werr := os.WriteFile(filepath.Join(at, "f"), nil, 0o600)
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil || werr != nil {
		t.Fatal(err, werr)
	}
	if err := o.Remove(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	o.Wait()
	gone(t, o)
}

// gone checks that no container's file is left anywhere below the data root.
func gone(t *testing.T, o *Overlay) {
	t.Helper()
	for _, dir := range []string{o.containers, filepath.Join(filepath.Dir(o.containers), "trash", "containers")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("left: %s/%s", dir, e.Name())
		}
	}
}

func TestRemoveTakesEverything(t *testing.T) {
	o := open(t, t.TempDir())
	for i := range 50 {
		id := fmt.Sprintf("c%d", i)
		if _, err := o.Prepare(t.Context(), id, []string{lower(t, 0o755, 0)}); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(o.Dir(id), "log"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(o.Dir(id), "log", "json.log"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := o.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(o.Dir(id)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", id, err)
		}
	}
	if err := o.Remove(t.Context(), "absent"); err != nil {
		t.Errorf("Remove of nothing = %v", err)
	}
	o.Wait()
	gone(t, o)
}

func TestRemovalResumesAndSweeps(t *testing.T) {
	root := t.TempDir()
	o := open(t, root)
	if _, err := o.Prepare(t.Context(), "known", []string{lower(t, 0o755, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Prepare(t.Context(), "unknown", []string{lower(t, 0o755, 0)}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	if err := os.MkdirAll(filepath.Join(root, "trash/containers/7/upper/left"), 0o700); err != nil {
		t.Fatal(err)
	}
	o = open(t, root)
	if err := o.Sweep(func(id string) bool { return id == "known" }); err != nil {
		t.Fatal(err)
	}
	o.Wait()
	if _, err := os.Lstat(o.Dir("known")); err != nil {
		t.Error(err)
	}
	if err := o.Remove(t.Context(), "known"); err != nil {
		t.Fatal(err)
	}
	o.Wait()
	gone(t, o)
}

func TestBadIDs(t *testing.T) {
	o := open(t, t.TempDir())
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a\x00b", strings.Repeat("a", 300)} {
		_, err := o.Prepare(t.Context(), id, []string{"/"})
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("Prepare(%q) = %v", id, err)
		}
		if err := o.Remove(t.Context(), id); !errors.Is(err, fault.Invalid) {
			t.Errorf("Remove(%q) = %v", id, err)
		}
		if _, err := o.Usage(t.Context(), id); !errors.Is(err, fault.Invalid) {
			t.Errorf("Usage(%q) = %v", id, err)
		}
	}
	if _, err := o.Prepare(t.Context(), "c", nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("Prepare without layers = %v", err)
	}
}

func BenchmarkPrepareRemove(b *testing.B) {
	o, err := openOverlay(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprintf("c%d", i)
		if _, err := o.Prepare(b.Context(), id, []string{dir}); err != nil {
			b.Fatal(err)
		}
		if err := o.Remove(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	o.Wait()
}
