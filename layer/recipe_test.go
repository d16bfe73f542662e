package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// A layer gives back the tar that it was made of, whoever wrote it.
func TestTarIsMadeAgainByteForByte(t *testing.T) {
	tree := t.TempDir()
	if err := os.MkdirAll(filepath.Join(tree, "a", strings.Repeat("long", 40)), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"a/empty": "", "a/one": "1", "a/block": strings.Repeat("b", 512), "a/large": strings.Repeat("large", 300000),
		"a/" + strings.Repeat("long", 40) + "/" + strings.Repeat("name", 30): "deep",
	} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(tree, "a/one"), filepath.Join(tree, "two")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/a/one", filepath.Join(tree, "three")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(tree, "a/one"), "user.x", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	sparse, err := os.Create(filepath.Join(tree, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	sparse.WriteAt([]byte("end"), 5*mib)
	sparse.Close()
	for _, args := range [][]string{
		{"--format=gnu"}, {"--format=posix"}, {"--format=posix", "--xattrs"}, {"--format=gnu", "--sparse"},
		{"--format=posix", "--sparse"}, {"--format=posix", "--sparse", "--sparse-version=0.1"}, {"-b", "100"},
		{"--format=gnu", "--numeric-owner", "--mtime=@1"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			raw, err := exec.Command("tar", append(args, "-C", tree, "-c", ".")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			again(t, raw)
		})
	}
	t.Run("archive/tar", func(t *testing.T) {
		again(t, pack(t, dir("d/", 0o755), file("d/f", "content"), file(".wh.gone", ""), link(tar.TypeSymlink, "l", "d")))
	})
	t.Run("through links", func(t *testing.T) {
		again(t, pack(t, dir("d/", 0o755), link(tar.TypeSymlink, "l", "d"), file("l/f", "content"), file("implied/f", "more")))
	})
	t.Run("rubbish after the end", func(t *testing.T) {
		again(t, append(pack(t, file("f", "x")), "left over"...))
	})
}

func again(t *testing.T, raw []byte) {
	t.Helper()
	s := openStore(t)
	info, _ := unpack(t, s, raw)
	if info.TarSize != int64(len(raw)) {
		t.Fatalf("a tar of %d bytes is recorded with %d", len(raw), info.TarSize)
	}
	var b bytes.Buffer
	if err := s.Tar(t.Context(), info.DiffID, &b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), raw) {
		t.Error("the tar differs")
	}
}

func TestTarWithSeveralEntriesForOneNameIsNotMadeAgain(t *testing.T) {
	s := openStore(t)
	info, _ := unpack(t, s, pack(t, file("f", "first"), file("f", "second")))
	if info.TarSize != 0 {
		t.Fatal("it is recorded")
	}
	if _, err := os.Lstat(filepath.Join(s.path(info.DiffID), recipeFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the recipe is still there: %v", err)
	}
	if err := s.Tar(t.Context(), info.DiffID, &bytes.Buffer{}); !errors.Is(err, fault.NotImplemented) {
		t.Errorf("it is made: %v", err)
	}
}

func TestTarOfADamagedLayerIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, layer string) error{
		"content": func(t *testing.T, layer string) error { return os.WriteFile(layer+"/fs/f", []byte("wrong!!"), 0o644) },
		"longer": func(t *testing.T, layer string) error {
			return os.WriteFile(layer+"/fs/f", []byte("content and more"), 0o644)
		},
		"shorter": func(t *testing.T, layer string) error { return os.Truncate(layer+"/fs/f", 3) },
		"missing": func(t *testing.T, layer string) error { return os.Remove(layer + "/fs/f") },
		"a link": func(t *testing.T, layer string) error {
			os.Remove(layer + "/fs/f")
			return os.Symlink("/etc/passwd", layer+"/fs/f")
		},
		"a FIFO": func(t *testing.T, layer string) error {
			os.Remove(layer + "/fs/f")
			return unix.Mkfifo(layer+"/fs/f", 0o600)
		},
		"no recipe":     func(t *testing.T, layer string) error { return os.Remove(layer + "/" + recipeFile) },
		"half a recipe": func(t *testing.T, layer string) error { return os.Truncate(layer+"/"+recipeFile, 20) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			info, _ := unpack(t, s, pack(t, file("f", "content")))
			if err := damage(t, s.path(info.DiffID)); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"tar": s.Tar(t.Context(), info.DiffID, &bytes.Buffer{}), "verify": s.Verify(t.Context(), info.DiffID),
			} {
				if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), info.DiffID.String()) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

func TestVerifySeesWhatIsNotContent(t *testing.T) {
	raw := pack(t, dir("d/", 0o755), file("d/f", "content"), link(tar.TypeSymlink, "l", "d"), file(".wh.gone", ""), file("d/.wh..wh..opq", ""))
	for name, damage := range map[string]func(fs string) error{
		"nothing":       func(string) error { return nil },
		"mode":          func(fs string) error { return os.Chmod(fs+"/d/f", 0o4755) },
		"owner":         func(fs string) error { return os.Chown(fs+"/d/f", 1, 1) },
		"link":          func(fs string) error { os.Remove(fs + "/l"); return os.Symlink("/etc", fs+"/l") },
		"link gone":     func(fs string) error { return os.Remove(fs + "/l") },
		"whiteout gone": func(fs string) error { return os.Remove(fs + "/gone") },
		"root gone":     os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			info, fs := unpack(t, s, raw)
			if err := damage(fs); err != nil {
				t.Fatal(err)
			}
			err := s.Verify(t.Context(), info.DiffID)
			if name == "nothing" && err != nil || name != "nothing" && !errors.Is(err, fault.Unavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}
