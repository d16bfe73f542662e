package tree

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openBin(t *testing.T, dir string) (*Bin, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	b, err := OpenBin(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, &log
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// deep makes n nested directories, far past PATH_MAX, as a container can.
func deep(t *testing.T, dir string, n int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := unix.Mkdirat(fd, "deeper", 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := openDir(fd, "deeper")
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
}

func TestBinRemovesEverything(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, fill := range map[string]func(t *testing.T, dir string){
		"empty": func(*testing.T, string) {},
		"files": func(t *testing.T, dir string) {
			for i := range 3000 {
				if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", i%200+1)+string(rune('a'+i%26))), nil, 0); err != nil {
					t.Fatal(err)
				}
			}
		},
		"links out": func(t *testing.T, dir string) {
			for _, target := range []string{canary, filepath.Dir(canary), "/", "nowhere"} {
				if err := os.Symlink(target, filepath.Join(dir, strings.ReplaceAll(target, "/", "_"))); err != nil {
					t.Fatal(err)
				}
			}
		},
		"no rights": func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, "work", "work"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, "work", "work"), 0); err != nil {
				t.Fatal(err)
			}
		},
		"too deep": func(t *testing.T, dir string) { deep(t, dir, 5000) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			b, log := openBin(t, filepath.Join(root, "trash"))
			dir := filepath.Join(root, "victim")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			fill(t, dir)
			if err := b.Take(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("the tree is still there right after Take: %v", err)
			}
			b.Wait()
			if left := entries(t, filepath.Join(root, "trash")); len(left) != 0 {
				t.Errorf("left in the bin: %q\n%s", left, log)
			}
		})
	}
	if got, err := os.ReadFile(canary); err != nil || string(got) != "alive" {
		t.Errorf("a file outside changed: %q, %v", got, err)
	}
}

func TestBinResumesAndNeverReusesNames(t *testing.T) {
	root := t.TempDir()
	trash := filepath.Join(root, "trash")
	if err := os.MkdirAll(filepath.Join(trash, "41", "left", "over"), 0o700); err != nil {
		t.Fatal(err)
	}
	b, _ := openBin(t, trash)
	victim := filepath.Join(root, "victim")
	if err := os.Mkdir(victim, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.Take(victim); err != nil {
		t.Fatal(err)
	}
	b.Wait()
	if left := entries(t, trash); len(left) != 0 {
		t.Errorf("left in the bin: %q", left)
	}
	if b.next < 43 {
		t.Errorf("next name is %d: a name of the earlier process can come again", b.next)
	}
	if err := b.Take(filepath.Join(root, "absent")); err != nil {
		t.Errorf("Take of a missing path = %v", err)
	}
}

func TestBinRemovesImmutableFiles(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "victim")
	file := filepath.Join(dir, "fixed")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, immutable); err != nil {
		t.Skipf("this file system or user cannot make a file immutable: %v", err)
	}
	b, log := openBin(t, filepath.Join(root, "trash"))
	if err := b.Take(dir); err != nil {
		t.Fatal(err)
	}
	b.Wait()
	if left := entries(t, filepath.Join(root, "trash")); len(left) != 0 {
		t.Errorf("left in the bin: %q\n%s", left, log)
	}
}

func TestSize(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"one": 1, "a/ten": 10, "a/b/hundred": 100} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "a/b/hundred"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	got, err := Size(t.Context(), dir)
	if err != nil || got != 111 {
		t.Errorf("Size = %d, %v, want 111", got, err)
	}
}
