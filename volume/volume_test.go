package volume

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"data": true, "a.b_c-d": true, "0x": true, strings.Repeat("a", 250): true,
		"": false, "d": false, ".new-x": false, "../x": false, "a/b": false, "a b": false, "a\x00b": false, strings.Repeat("a", 300): false} {
		if err := CheckName(name); (err == nil) != ok || err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestLife(t *testing.T) {
	root := t.TempDir()
	l, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	fills := 0
	fill := func(dir string) error {
		fills++
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	}
	if fresh, err := l.Ensure(Volume{Name: "data"}, fill); !fresh || err != nil {
		t.Fatalf("first use: %v, %v", fresh, err)
	}
	if fresh, err := l.Ensure(Volume{Name: "data"}, fill); fresh || err != nil || fills != 1 {
		t.Errorf("second use: %v, %v, filled %d times", fresh, err, fills)
	}
	if err := os.Remove(filepath.Join(l.Path("data"), "file")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Ensure(Volume{Name: "data"}, fill); err != nil || fills != 2 {
		t.Errorf("an empty volume: %v, filled %d times", err, fills)
	}
	broken := errors.New("no space left on device")
	if _, err := l.Ensure(Volume{Name: "half"}, func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(root, "volumes")); len(left) != 1 {
		t.Errorf("a failed create left %v", left)
	}
	// A crash in the middle of a create.
	if err := os.MkdirAll(filepath.Join(root, "volumes", stagePrefix+"cut", "_data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(root); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(root, "volumes")); len(left) != 1 {
		t.Errorf("after a crash: %v", left)
	}
	if _, err := l.Remove([]string{"data"}, func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.Path("data")); err != nil {
		t.Error("a volume in use was removed")
	}
	if _, err := l.Remove([]string{"data", "missing"}, func(string) bool { return false }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.Path("data")); err == nil {
		t.Error("the volume is still there")
	}
}
