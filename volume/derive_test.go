package volume

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

// filled makes a volume with one of each kind of file.
func filled(t *testing.T) *Local {
	t.Helper()
	l, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Ensure(Volume{Name: "src", Labels: map[string]string{"a": "b"}}, nil); err != nil {
		t.Fatal(err)
	}
	dir := l.Path("src")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(dir+"/d/e", 0o750))
	must(os.WriteFile(dir+"/d/file", []byte("hello"), 0o640))
	must(os.Link(dir+"/d/file", dir+"/d/again"))
	must(os.Symlink("/etc/passwd", dir+"/link"))
	must(syscall.Mkfifo(dir+"/fifo", 0o600))
	must(os.Chown(dir+"/d/file", 7, 8))
	must(os.Chmod(dir+"/d/file", 0o755|os.ModeSetuid))
	f, err := os.Create(dir + "/sparse")
	must(err)
	_, err = f.WriteAt([]byte("end"), 64<<20)
	must(err)
	must(f.Close())
	must(os.Chtimes(dir+"/d", time.Unix(1, 0), time.Unix(2, 0)))
	return l
}

// same compares a copy with what filled made.
func same(t *testing.T, l *Local, name string) {
	t.Helper()
	dir := l.Path(name)
	if raw, err := os.ReadFile(dir + "/d/again"); err != nil || string(raw) != "hello" {
		t.Errorf("%q, %v", raw, err)
	}
	var file, again, sparse syscall.Stat_t
	for path, st := range map[string]*syscall.Stat_t{"d/file": &file, "d/again": &again, "sparse": &sparse} {
		if err := syscall.Lstat(filepath.Join(dir, path), st); err != nil {
			t.Fatal(err)
		}
	}
	if file.Ino != again.Ino || file.Uid != 7 || file.Gid != 8 || file.Mode&0o7777 != 0o4755 {
		t.Errorf("file %+v, again %+v", file, again)
	}
	if sparse.Size != 64<<20+3 {
		t.Errorf("the sparse file has %d bytes", sparse.Size)
	}
	if target, err := os.Readlink(dir + "/link"); err != nil || target != "/etc/passwd" {
		t.Errorf("%q, %v", target, err)
	}
	if st, err := os.Lstat(dir + "/fifo"); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("fifo: %v, %v", st, err)
	}
	if st, err := os.Stat(dir + "/d"); err != nil || !st.ModTime().Equal(time.Unix(2, 0)) || st.Mode().Perm() != 0o750 {
		t.Errorf("directory: %v, %v", st, err)
	}
}

func TestClone(t *testing.T) {
	l := filled(t)
	if err := l.Clone(t.Context(), "src", Volume{Name: "copy", Labels: map[string]string{"c": "d"}}); err != nil {
		t.Fatal(err)
	}
	same(t, l, "copy")
	var st syscall.Stat_t
	if err := syscall.Stat(l.Path("copy")+"/sparse", &st); err != nil || st.Blocks*512 > 16<<20 {
		t.Errorf("the copy of a hole takes %d bytes, %v", st.Blocks*512, err)
	}
	if v, err := l.Get("copy"); err != nil || v.Labels["c"] != "d" || v.Created.IsZero() {
		t.Errorf("%+v, %v", v, err)
	}
	if err := l.Clone(t.Context(), "src", Volume{Name: "copy"}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a taken name: %v", err)
	}
	if err := l.Clone(t.Context(), "absent", Volume{Name: "copy2"}); !errors.Is(err, fault.NotFound) {
		t.Errorf("no source: %v", err)
	}
}

func TestExportAndImport(t *testing.T) {
	l := filled(t)
	if err := os.Remove(l.Path("src") + "/sparse"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Path("src")+"/sparse", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(l.Path("src")+"/sparse", 64<<20+3); err != nil {
		t.Fatal(err)
	}
	var tar bytes.Buffer
	if err := l.Export(t.Context(), "src", func() io.Writer { return &tar }); err != nil {
		t.Fatal(err)
	}
	whole := tar.Bytes()
	if err := l.Import(t.Context(), Volume{Name: "copy"}, bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	same(t, l, "copy")
	for name, content := range map[string]string{"cut off": string(whole[:len(whole)/2]), "garbage": strings.Repeat("x", 4096)} {
		if err := l.Import(t.Context(), Volume{Name: "broken"}, strings.NewReader(content)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.Get("broken"); err == nil {
			t.Errorf("%s: a part became a volume", name)
		}
	}
	left, err := filepath.Glob(filepath.Join(l.root, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRename(t *testing.T) {
	l := filled(t)
	free := func(string) bool { return false }
	if err := l.Rename("src", "dst", func(string) bool { return true }); !errors.Is(err, fault.Conflict) {
		t.Errorf("in use: %v", err)
	}
	if err := l.Rename("src", "a b", free); !errors.Is(err, fault.Invalid) {
		t.Errorf("a bad name: %v", err)
	}
	if err := l.Rename("src", "dst", free); err != nil {
		t.Fatal(err)
	}
	same(t, l, "dst")
	if _, err := l.Get("src"); !errors.Is(err, fault.NotFound) {
		t.Errorf("the old name: %v", err)
	}
	again, err := Open(filepath.Dir(l.root))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := again.Get("dst"); err != nil || v.Labels["a"] != "b" || v.Name != "dst" {
		t.Errorf("after a restart: %+v, %v", v, err)
	}
	if err := l.Rename("src", "x1", free); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown one: %v", err)
	}
}
