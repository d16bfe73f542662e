package compact

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/logfile"
)

const within = 10 * time.Second

func write1(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestCompress(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "json.log")
	write1(t, path, "current")
	write1(t, path+".1", "newer")
	write1(t, path+".2", "older")
	write1(t, filepath.Join(dir, temporary), "the rest of a crash")
	info, err := os.Stat(path + ".2")
	if err != nil {
		t.Fatal(err)
	}
	if err := compressOne(path); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "json.log json.log.1.gz json.log.2.gz" {
		t.Fatalf("files: %s", got)
	}
	if got := unpack(t, path+".2.gz"); got != "older" {
		t.Errorf("the older one holds %q", got)
	}
	f, err := os.Open(path + ".2.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if o, err := ReadOrigin(f); err != nil || o != OriginOf(info) {
		t.Errorf("origin %+v, %v; want %+v", o, err, OriginOf(info))
	}
	if packed, err := f.Stat(); err != nil || !packed.ModTime().Equal(info.ModTime()) {
		t.Errorf("its time changed: %v", err)
	}
	if err := compressOne(filepath.Join(dir, "gone", "json.log")); err != nil {
		t.Errorf("a container that was removed: %v", err)
	}
}

// Between the reading and the renaming of a file it may be rotated further up, or
// away.
func TestPublishFollowsRotation(t *testing.T) {
	for _, tc := range []struct {
		name string
		move func(path string) error
		want string
	}{
		{"in place", func(string) error { return nil }, "log.1.gz"},
		{"one up", func(path string) error { return os.Rename(path+".1", path+".2") }, "log.2.gz"},
		{"one up, and another came", func(path string) error {
			if err := os.Rename(path+".1", path+".2"); err != nil {
				return err
			}
			return os.WriteFile(path+".1", []byte("other"), 0o600)
		}, "log.1 log.2.gz"},
		{"away", func(path string) error { return os.Remove(path + ".1") }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "log")
			write1(t, path+".1", "text")
			info, err := os.Stat(path + ".1")
			if err != nil {
				t.Fatal(err)
			}
			// Keep its inode, as the open file does.
			f, err := os.Open(path + ".1")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			tmp := filepath.Join(dir, temporary)
			write1(t, tmp, "packed")
			if err := tc.move(path); err != nil {
				t.Fatal(err)
			}
			if err := publish(path, tmp, info, 1); err != nil {
				t.Fatal(err)
			}
			if got := names(t, dir); got != tc.want {
				t.Errorf("files %q, want %q", got, tc.want)
			}
		})
	}
}

// A supervisor that was stopped in the middle of a rotation holds the lock: the
// file stays plain, nothing else waits, and it is compressed later.
func TestLockIsHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write1(t, path+".1", "text")
	lock, err := logfile.LockDir(filepath.Dir(path), unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	if err := compressOne(path); err == nil {
		t.Error("compressed while somebody had the lock")
	}
	unix.Close(lock)
	if got := names(t, filepath.Dir(path)); got != "log.1" {
		t.Errorf("files %q", got)
	}
	if err := compressOne(path); err != nil || unpack(t, path+".1.gz") != "text" {
		t.Errorf("later: %v", err)
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	c := New(slog.New(slog.DiscardHandler))
	c.Watch(path, false)
	eventually := func(what string, check func() bool) {
		t.Helper()
		for end := time.Now().Add(within); !check(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within %v: %s; files %q", within, what, names(t, dir))
			}
		}
	}
	write1(t, path, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	eventually("a rotated file is compressed", func() bool { return names(t, dir) == "log.1.gz" })
	// What comes without a rename is seen at the end of the run.
	write1(t, path+".2", "two")
	c.Finish(path)
	eventually("the rest at the end", func() bool { return names(t, dir) == "log.1.gz log.2.gz" })
	c.Finish(path) // twice is fine
	c.Close()
	c.Watch(path, true) // after the end it does nothing
	c.Close()
}
