package archive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func root(t *testing.T) (*inroot.Root, string) {
	t.Helper()
	dir := t.TempDir()
	r, err := inroot.Open(dir)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r, dir
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{"/a/b": "/a/b", "a": "/a", "a/": "/a/", "a/.": "/a/.", ".": "/", "/": "/", "/.": "/", "../../x": "/x", "/a/../b/": "/b/", "//a//b": "/a/b"} {
		if got, err := Clean(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a\x00b", strings.Repeat("x", maxPath+1)} {
		if _, err := Clean(in); !errors.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: %v", len(in), err)
		}
	}
}

func TestStat(t *testing.T) {
	r, dir := root(t)
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a/b/f"), []byte("xyz"), 0o640))
	for name, to := range map[string]string{"abs": "/a/b", "rel": "a/b/f", "out": "../../../../etc", "chain": "abs/f", "dangling": "/no/where", "loop": "loop"} {
		must(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	for p, want := range map[string]string{"/abs": "/a/b", "/rel": "/a/b/f", "/out": "/etc", "/chain": "/a/b/f", "/dangling": "/no/where", "/a/b/f": "", "/abs/": "", "/abs/.": ""} {
		st, err := Stat(r, p)
		if err != nil || st.LinkTarget != want {
			t.Errorf("%s: %+v, %v; want %q", p, st, err, want)
		}
	}
	if st, err := Stat(r, "/abs/"); err != nil || st.Name != "abs" || !st.Mode.IsDir() {
		t.Errorf("a slash follows: %+v, %v", st, err)
	}
	if _, err := Stat(r, "/loop"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("loop: %v", err)
	}
	if err := Refuse("id", "/x", fs.ErrNotExist); !errors.Is(err, fault.NotFound) || err.Error() != "Could not find the file /x in container id" {
		t.Errorf("got %v", err)
	}
}

func TestChanges(t *testing.T) {
	upper, up := root(t)
	lower, low := root(t)
	for _, d := range []string{"etc", "same", "opq", "kept", "todir"} {
		must(t, os.MkdirAll(filepath.Join(low, d), 0o755))
	}
	for _, f := range []string{"etc/passwd", "gone", "same/f", "opq/old", "opq/both", "kept/x", "isfile"} {
		must(t, os.WriteFile(filepath.Join(low, f), []byte("low"), 0o644))
	}
	must(t, os.MkdirAll(filepath.Join(up, "etc"), 0o755))
	must(t, os.MkdirAll(filepath.Join(up, "new/d"), 0o755))
	must(t, os.MkdirAll(filepath.Join(up, "opq"), 0o755))
	must(t, os.MkdirAll(filepath.Join(up, "proc"), 0o755))
	must(t, os.MkdirAll(filepath.Join(up, "isfile/in"), 0o755))
	must(t, os.WriteFile(filepath.Join(up, "etc/hosts"), nil, 0o644)) // the place of a mount
	must(t, os.WriteFile(filepath.Join(up, "etc/passwd"), []byte("changed"), 0o644))
	must(t, os.WriteFile(filepath.Join(up, "opq/both"), []byte("up"), 0o644))
	must(t, unix.Mknod(filepath.Join(up, "gone"), unix.S_IFCHR, 0))
	must(t, unix.Mknod(filepath.Join(up, "nevermind"), unix.S_IFCHR, 0))
	if err := unix.Setxattr(filepath.Join(up, "opq"), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Skipf("the file system of the test has no trusted attributes: %v", err)
	}
	list, err := Changes(t.Context(), upper, lower)
	must(t, err)
	var got []string
	for _, c := range list {
		got = append(got, c.Kind.String()+c.Path)
	}
	want := "C/etc C/etc/passwd D/gone C/isfile A/isfile/in A/new A/new/d C/opq C/opq/both D/opq/old"
	if text := strings.Join(got, " "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
