package fsid

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir() // 0700 of root: reached with the capabilities only
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	want := errors.New("of f")
	if err := As(4711, 4712, func() error {
		if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
			return err
		}
		return want
	}); err != want {
		t.Fatalf("got %v", err)
	}
	for range 50 { // whatever thread comes next is itself again
		if err := os.WriteFile(filepath.Join(dir, "b"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, owner := range map[string][2]uint32{"a": {4711, 4712}, "b": {0, 0}} {
			st, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if s := st.Sys().(*syscall.Stat_t); s.Uid != owner[0] || s.Gid != owner[1] {
				t.Fatalf("%s belongs to %d:%d", name, s.Uid, s.Gid)
			}
		}
		os.Remove(filepath.Join(dir, "b"))
	}
}
