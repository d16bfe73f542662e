package treecopy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

func open(t *testing.T, dir string) *inroot.Root {
	t.Helper()
	r, err := inroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestCopy(t *testing.T) {
	src, dst, outside := t.TempDir(), t.TempDir(), t.TempDir()
	must(t,
		os.Mkdir(src+"/d", 0o751),
		os.WriteFile(src+"/d/f", []byte("x"), 0o640),
		os.Link(src+"/d/f", src+"/again"),
		os.Symlink(outside, src+"/out"),
		unix.Mkfifo(src+"/fifo", 0o600),
		os.WriteFile(src+"/sparse", nil, 0o600),
		os.Truncate(src+"/sparse", 64<<20),
	)
	l, err := net.Listen("unix", src+"/socket")
	must(t, err)
	defer l.Close()
	attr := unix.Lsetxattr(src+"/d/f", "user.colour", []byte("red"), 0)
	if attr != nil && !errors.Is(attr, unix.EOPNOTSUPP) {
		t.Fatal(attr)
	}
	must(t, Copy(context.Background(), open(t, src), open(t, dst)))

	var names []string
	must(t, filepath.Walk(dst, func(path string, _ os.FileInfo, err error) error {
		names = append(names, strings.TrimPrefix(path, dst))
		return err
	}))
	if got, want := strings.Join(names, " "), " /again /d /d/f /fifo /out /sparse"; got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
	var f, again, sparse unix.Stat_t
	must(t, unix.Lstat(dst+"/d/f", &f), unix.Lstat(dst+"/again", &again), unix.Lstat(dst+"/sparse", &sparse))
	if f.Ino != again.Ino || f.Mode&0o7777 != 0o640 {
		t.Errorf("file %+v and its other name %+v", f, again)
	}
	if sparse.Size != 64<<20 || sparse.Blocks > 64 {
		t.Errorf("a file of one hole takes %d bytes and %d blocks", sparse.Size, sparse.Blocks)
	}
	if attr == nil {
		value := make([]byte, 8)
		if n, err := unix.Lgetxattr(dst+"/d/f", "user.colour", value); err != nil || string(value[:n]) != "red" {
			t.Errorf("extended attribute %q, %v", value[:max(n, 0)], err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("something was written through a link: %v, %v", left, err)
	}
}

func TestCopyEnds(t *testing.T) {
	src := t.TempDir()
	must(t, os.MkdirAll(src+"/1/2/3/4", 0o700))
	for deepest, want := range map[int]bool{3: false, 4: true} {
		c := copier{from: open(t, src), to: open(t, t.TempDir()), links: map[inode]string{}, deepest: deepest}
		if err := c.directory(context.Background(), ".", 0); (err == nil) != want {
			t.Errorf("four levels where %d are allowed: %v", deepest, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Copy(ctx, open(t, src), open(t, t.TempDir())); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled copy: %v", err)
	}
}
