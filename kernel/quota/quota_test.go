package quota

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel copies as many bytes as its own structs have.
func TestLayouts(t *testing.T) {
	var s state
	var a attributes
	for name, v := range map[string][2]uintptr{
		"if_dqblk":            {unsafe.Sizeof(limits{}), 72},
		"fs_quota_statv":      {unsafe.Sizeof(s), 160},
		"fs_quota_statv.flag": {unsafe.Offsetof(s.flags), 2},
		"fsxattr":             {unsafe.Sizeof(a), 28},
		"fsxattr.projid":      {unsafe.Offsetof(a.project), 12},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: %d, want %d", name, v[0], v[1])
		}
	}
}

func TestProbeWithoutQuotas(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting needs root: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := Probe(dir); !errors.Is(err, ErrNotSupported) {
		t.Errorf("Probe of a tmpfs: %v", err)
	}
}

// What is made in a directory of a project belongs to it too, and to move a file into
// another project is refused. No quota is in force for this.
func TestProjects(t *testing.T) {
	at := t.TempDir()
	file, dir := filepath.Join(at, "disk"), filepath.Join(at, "mounted")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 400<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.xfs", "-q", file).CombinedOutput(); err != nil {
		t.Skipf("mkfs.xfs: %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", file, dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	const project = firstProject + 7
	for _, name := range []string{"upper", "work", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "other" {
			continue
		}
		if err := join(filepath.Join(dir, name), project); err != nil {
			t.Fatal(err)
		}
	}
	made := filepath.Join(dir, "work", "made")
	if err := os.WriteFile(made, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(made)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if a, err := read(f); err != nil || a.project != project {
		t.Errorf("a file made there is of project %d: %v", a.project, err)
	}
	if err := os.Rename(made, filepath.Join(dir, "upper", "made")); err != nil {
		t.Errorf("within the project: %v", err)
	}
	strange := filepath.Join(dir, "other", "file")
	if err := os.WriteFile(strange, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(strange, filepath.Join(dir, "upper", "file")); !errors.Is(err, unix.EXDEV) {
		t.Errorf("into the project: %v, want EXDEV", err)
	}
	if err := Release(filepath.Join(dir, "other")); err != nil {
		t.Errorf("release what has no project: %v", err)
	}
}
