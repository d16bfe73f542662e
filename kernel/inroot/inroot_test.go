package inroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a hostile root: next to it lies a directory that must stay as it is.
func tree(t *testing.T) (r *Root, dir, outside string) {
	t.Helper()
	base := t.TempDir()
	dir, outside = filepath.Join(base, "root"), filepath.Join(base, "outside")
	for _, d := range []string{dir, outside, dir + "/etc", dir + "/a/b/c"} {
		must(t, os.MkdirAll(d, 0o755))
	}
	must(t, os.WriteFile(outside+"/secret", []byte("secret"), 0o600))
	must(t, os.WriteFile(dir+"/etc/passwd", []byte("inside"), 0o644))
	for name, target := range map[string]string{
		"abs":        "/etc/passwd",
		"up":         "../../../../../../../../etc/passwd",
		"out":        outside,
		"outrel":     "../outside",
		"outfile":    outside + "/secret",
		"loop":       "loop",
		"magic":      "/proc/self/root",
		"dangling":   "/run/made",
		"danglrel":   "../new/place",
		"a/dangling": "../../../b/c",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	r, err := Open(dir)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r, dir, outside
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// untouched fails unless the outside directory is as tree made it.
func untouched(t *testing.T, outside string) {
	t.Helper()
	list, err := os.ReadDir(outside)
	must(t, err)
	data, err := os.ReadFile(outside + "/secret")
	if len(list) != 1 || err != nil || string(data) != "secret" {
		t.Errorf("the directory outside the root was changed: %v, %q, %v", list, data, err)
	}
	st, err := os.Lstat(outside + "/secret")
	must(t, err)
	if st.Mode() != 0o600 {
		t.Errorf("the mode of the file outside the root became %v", st.Mode())
	}
}

func TestReadStaysInside(t *testing.T) {
	r, _, outside := tree(t)
	tests := []struct {
		path string
		want string
		err  error
	}{
		{"etc/passwd", "inside", nil},
		{"/etc/passwd", "inside", nil},
		{"abs", "inside", nil},
		{"up", "inside", nil},
		{"../../../etc/passwd", "inside", nil},
		{"a/b/c/../../../../../etc/passwd", "inside", nil},
		{"out/secret", "", fs.ErrNotExist},
		{"outrel/secret", "", fs.ErrNotExist},
		{"outfile", "", fs.ErrNotExist},
		{"loop", "", unix.ELOOP},
		{"magic/etc/passwd", "", fs.ErrNotExist},
		{"", "", fs.ErrNotExist},
		{"etc", "", ErrNotRegular},
		{"etc/passwd/", "", unix.ENOTDIR},
		{"etc/pass\x00wd", "", unix.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			data, err := r.ReadFile(tt.path, 100)
			if !errors.Is(err, tt.err) || string(data) != tt.want {
				t.Errorf("got %q, %v; want %q, %v", data, err, tt.want, tt.err)
			}
		})
	}
	untouched(t, outside)
}

func TestMagicLinks(t *testing.T) {
	r, err := Open("/proc")
	must(t, err)
	defer r.Close()
	if f, err := r.Open("self/root/etc/passwd", unix.O_RDONLY, 0); !errors.Is(err, unix.ELOOP) {
		t.Errorf("open through /proc/self/root: %v, %v; want ELOOP", f, err)
	}
}

func TestMkdirAll(t *testing.T) {
	tests := []struct{ path, made string }{
		{"x/y/z", "x/y/z"},
		{"/a/b/new/deep/", "a/b/new/deep"},
		{"../../../esc", "esc"},
		{"dangling/sub", "run/made/sub"},
		{"danglrel", "new/place"},
		{"a/dangling/d", "b/c/d"},
		{"q/../w", "w"},
		{".", "."},
		{"a/./b//c", "a/b/c"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			r, dir, outside := tree(t)
			f, err := r.MkdirAll(tt.path, 0o755)
			must(t, err)
			defer f.Close()
			want, err := os.Stat(filepath.Join(dir, tt.made))
			must(t, err)
			got, err := f.Stat()
			must(t, err)
			if !os.SameFile(want, got) {
				t.Errorf("the descriptor does not name %s", tt.made)
			}
			untouched(t, outside)
		})
	}
	t.Run("a link out makes nothing outside", func(t *testing.T) {
		r, dir, outside := tree(t)
		f, err := r.MkdirAll("outrel/x", 0o755)
		must(t, err)
		f.Close()
		if _, err := os.Stat(dir + "/outside/x"); err != nil {
			t.Error(err)
		}
		untouched(t, outside)
	})
	for path, want := range map[string]error{"loop/x": unix.ELOOP, "etc/passwd/x": unix.ENOTDIR, "abs/x": unix.ENOTDIR} {
		t.Run(path, func(t *testing.T) {
			r, _, _ := tree(t)
			if _, err := r.MkdirAll(path, 0o755); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

func TestMkfileAll(t *testing.T) {
	tests := []struct{ path, made string }{
		{"n/e/w", "n/e/w"},
		{"etc/passwd", "etc/passwd"},
		{"abs", "etc/passwd"},
		{"dangling", "run/made"},
		{"danglrel", "new/place"},
		{"../../f", "f"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			r, dir, outside := tree(t)
			f, err := r.MkfileAll(tt.path, 0o644)
			must(t, err)
			f.Close()
			if st, err := os.Lstat(filepath.Join(dir, tt.made)); err != nil || !st.Mode().IsRegular() {
				t.Errorf("%v, %v", st, err)
			}
			untouched(t, outside)
		})
	}
	r, _, _ := tree(t)
	for path, want := range map[string]error{"etc": unix.EISDIR, "loop": unix.ELOOP, "etc/..": unix.EISDIR, "nope/..": unix.EINVAL} {
		t.Run(path, func(t *testing.T) {
			if _, err := r.MkfileAll(path, 0o644); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

func TestNamesAreNotFollowed(t *testing.T) {
	r, dir, outside := tree(t)
	must(t, r.Lchown("outfile", 12, 34))
	st, err := r.Lstat("outfile")
	must(t, err)
	if st.Uid != 12 || st.Gid != 34 || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("Lchown/Lstat of a link: %+v", st)
	}
	when := time.Unix(1234567890, 987654321)
	must(t, r.Utimes("outfile", time.Time{}, when))
	if st, _ = r.Lstat("outfile"); st.Mtim.Sec != when.Unix() || st.Mtim.Nsec != 987654321 {
		t.Errorf("Utimes of a link: %+v", st.Mtim)
	}
	must(t, r.SetXattr("outfile", "trusted.sampan", []byte("v")))
	if v, err := r.GetXattr("outfile", "trusted.sampan"); err != nil || string(v) != "v" {
		t.Errorf("GetXattr of a link: %q, %v", v, err)
	}
	if names, err := r.ListXattrs("outfile"); err != nil || !slices.Contains(names, "trusted.sampan") {
		t.Errorf("ListXattrs of a link: %q, %v", names, err)
	}
	if err := r.Chmod("outfile", 0o777); !errors.Is(err, unix.ELOOP) {
		t.Errorf("Chmod of a link: %v", err)
	}
	if target, err := r.Readlink("outfile"); err != nil || target != outside+"/secret" {
		t.Errorf("Readlink: %q, %v", target, err)
	}
	if _, err := r.Readlink("etc"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Readlink of a directory: %v", err)
	}
	must(t, r.Link("outfile", "hard"))
	if st, err := os.Lstat(dir + "/hard"); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("Link of a link: %v, %v", st, err)
	}
	must(t, r.Rename("outfile", "etc/moved"))
	must(t, r.Remove("etc/moved"))
	must(t, r.Remove("out"))
	untouched(t, outside)
}

func TestCreate(t *testing.T) {
	r, dir, outside := tree(t)
	must(t, r.Mkdir("etc/d", 0o750))
	must(t, r.Symlink("../x", "etc/l"))
	must(t, r.Mknod("etc/null", unix.S_IFCHR|0o600, unix.Mkdev(1, 3)))
	must(t, r.Mknod("etc/fifo", unix.S_IFIFO|0o600, 0))
	must(t, r.Chmod("etc/d", 0o7751))
	if st, _ := r.Stat("etc/d"); st.Mode != unix.S_IFDIR|0o7751 {
		t.Errorf("Chmod gave %o", st.Mode)
	}
	if st, _ := r.Stat("etc/null"); st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("Mknod gave %x", st.Rdev)
	}
	if err := r.Mkdir("outrel/new", 0o755); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Mkdir through a link out: %v", err)
	}
	if err := r.WriteFile("etc/fifo", []byte("x"), 0o644); !errors.Is(err, ErrNotRegular) {
		t.Errorf("WriteFile of a FIFO: %v", err)
	}
	if _, err := r.ReadFile("etc/fifo", 10); !errors.Is(err, ErrNotRegular) {
		t.Errorf("ReadFile of a FIFO: %v", err)
	}
	must(t, r.WriteFile("etc/new", []byte("abc"), 0o640))
	must(t, r.WriteFile("abs", []byte("replaced"), 0o640))
	must(t, r.WriteFile("dangling", []byte("through"), 0o640))
	for path, want := range map[string]string{"etc/new": "abc", "etc/passwd": "replaced", "run/made": "through"} {
		if data, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	if _, err := r.ReadFile("etc/passwd", 3); !errors.Is(err, unix.EFBIG) {
		t.Errorf("ReadFile beyond its limit: %v", err)
	}
	list, err := r.ReadDir("etc", 0)
	must(t, err)
	types := map[string]fs.FileMode{}
	for _, e := range list {
		types[e.Name] = e.Type
	}
	if len(types) != 6 || types["d"] != fs.ModeDir || types["l"] != fs.ModeSymlink || types["fifo"] != fs.ModeNamedPipe ||
		types["null"] != fs.ModeDevice|fs.ModeCharDevice {
		t.Errorf("ReadDir: %v", types)
	}
	if _, err := r.ReadDir("etc", 2); !errors.Is(err, unix.EOVERFLOW) {
		t.Errorf("ReadDir beyond its limit: %v", err)
	}
	sub, err := r.Sub("etc")
	must(t, err)
	defer sub.Close()
	if data, err := sub.ReadFile("../../new", 10); err != nil || string(data) != "abc" {
		t.Errorf("a sub root: %q, %v", data, err)
	}
	untouched(t, outside)
}

func TestParent(t *testing.T) {
	r, _, _ := tree(t)
	for _, path := range []string{"", "/", ".", "..", "a/..", "a/b/."} {
		if _, _, err := r.Parent(path); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Parent(%q): %v", path, err)
		}
	}
	f, base, err := r.Parent("/a/b/c/")
	must(t, err)
	defer f.Close()
	if base != "c" {
		t.Errorf("base %q", base)
	}
}

func TestErrorNamesThePath(t *testing.T) {
	r, _, _ := tree(t)
	_, err := r.ReadFile("no/such\x1b[31m\nfile", 1)
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || !strings.Contains(err.Error(), "no/such") {
		t.Errorf("got %q", err)
	}
	err = r.Mkdir("etc/passwd/x", 0o755)
	if err == nil || err.Error() != "mkdir etc/passwd/x: not a directory" {
		t.Errorf("got %q", err)
	}
}
