package inroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRemoveAll(t *testing.T) {
	r, dir, outside := tree(t)
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(dir, "a/b", strconv.Itoa(i)), nil, 0o600))
	}
	must(t, os.Mkdir(dir+"/a/locked", 0o000))
	for _, path := range []string{"a", "etc/passwd", "outrel", "out", "missing", "missing/deeper"} {
		if err := r.RemoveAll(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	for _, path := range []string{"/", ".", ".."} {
		if err := r.RemoveAll(path); !errors.Is(err, unix.EINVAL) {
			t.Errorf("RemoveAll(%q): %v", path, err)
		}
	}
	untouched(t, outside)
}

// A tree far deeper than PATH_MAX and than the number of descriptors.
func TestRemoveAllDeep(t *testing.T) {
	const depth = 3000
	var lim unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	r, dir, _ := tree(t)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for i := range depth {
		must(t, unix.Mkdirat(fd, "d", 0o700))
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		if i%100 == 0 {
			must(t, unix.Mknodat(next, "f", unix.S_IFREG|0o600, 0))
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	must(t, r.RemoveAll("d"))
	if _, err := os.Lstat(dir + "/d"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	list, err := r.ReadDir("/", 0)
	must(t, err)
	for _, e := range list {
		if strings.HasPrefix(e.Name, ".removed-") {
			t.Errorf("%s was left behind", e.Name)
		}
	}
}

func TestRemoveAllStopsAtMounts(t *testing.T) {
	r, dir, _ := tree(t)
	must(t, os.MkdirAll(dir+"/a/vol", 0o755))
	for i := range 20 { // whatever order the file system lists them in
		must(t, os.MkdirAll(fmt.Sprintf("%s/a/dir%d/below", dir, i), 0o755))
	}
	if err := unix.Mount("tmpfs", dir+"/a/vol", "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir+"/a/vol", unix.MNT_DETACH) })
	must(t, os.WriteFile(dir+"/a/vol/data", []byte("keep"), 0o600))
	err := r.RemoveAll("a")
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EXDEV) {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(dir + "/a/vol/data"); err != nil || string(data) != "keep" {
		t.Errorf("the volume was emptied: %q, %v", data, err)
	}
	if list, err := os.ReadDir(dir + "/a"); err != nil || len(list) != 1 {
		t.Errorf("the other entries were not removed: %v, %v", list, err)
	}
}
