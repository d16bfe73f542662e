package rootview

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAccounts(t *testing.T) {
	dir := t.TempDir()
	layer := func(name string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(p, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		return p
	}
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	low, high, empty := layer("low"), layer("high"), layer("empty")
	put(filepath.Join(low, "etc/passwd"), "low")
	put(filepath.Join(high, "etc/passwd"), "high")
	read := func(layers ...string) string {
		t.Helper()
		passwd, _, err := Accounts(layers)
		if err != nil {
			return "error: " + err.Error()
		}
		return string(passwd)
	}
	if got := read(high, low); got != "high" {
		t.Errorf("got %q", got)
	}
	if got := read(empty, low); got != "low" {
		t.Errorf("got %q", got)
	}
	if got := read(empty); got != "" {
		t.Errorf("got %q", got)
	}
	// A link is resolved inside the merged root, never on the host.
	link := layer("link")
	if err := os.Symlink("/etc/other", filepath.Join(link, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	put(filepath.Join(low, "etc/other"), "other")
	if got := read(link, low); got != "other" {
		t.Errorf("got %q", got)
	}
	if err := os.Remove(filepath.Join(low, "etc/other")); err != nil {
		t.Fatal(err)
	}
	escape := layer("escape")
	if err := os.Symlink("../../../../../../../../"+dir+"/low/etc/passwd", filepath.Join(escape, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if got := read(escape, empty); got != "" {
		t.Errorf("read outside of the root: %q", got)
	}
	// CVE-2022-4318 and its kind: endless, special and huge files.
	special := layer("special")
	if err := os.Mkdir(filepath.Join(special, "etc/passwd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := read(special, empty); !strings.HasPrefix(got, "error: ") {
		t.Errorf("got %q", got)
	}
	fifo := layer("fifo")
	if err := mkfifo(filepath.Join(fifo, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if got := read(fifo, empty); !strings.HasPrefix(got, "error: ") {
		t.Errorf("got %q", got)
	}
	huge := layer("huge")
	put(filepath.Join(huge, "etc/passwd"), "")
	if err := os.Truncate(filepath.Join(huge, "etc/passwd"), 5<<30); err != nil {
		t.Fatal(err)
	}
	if got := read(huge); !strings.HasPrefix(got, "error: ") {
		t.Errorf("got %d bytes", len(got))
	}
	// A whiteout hides what lies below.
	gone := layer("gone")
	if err := whiteout(filepath.Join(gone, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if got := read(gone, low); got != "" {
		t.Errorf("got %q", got)
	}
}

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o644) }

// whiteout makes overlay's mark of a removed file.
func whiteout(path string) error { return syscall.Mknod(path, syscall.S_IFCHR, 0) }
