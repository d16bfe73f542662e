package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/state"
)

// smallDisk mounts a fresh ext4 of 24 MiB with few inodes.
func smallDisk(t *testing.T, inodes int) string {
	t.Helper()
	dir := t.TempDir()
	file, at := filepath.Join(dir, "disk"), filepath.Join(dir, "mnt")
	for _, argv := range [][]string{
		{"truncate", "-s", "24M", file}, {"mkfs.ext4", "-q", "-F", "-N", fmt.Sprint(inodes), "-m", "0", file},
		{"mkdir", at}, {"mount", "-o", "loop", file, at},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Errorf("unmount: %v", err)
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	})
	return at
}

// many is a layer of n files of size random bytes each.
func many(t *testing.T, n, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	random := rand.NewChaCha8([32]byte{1})
	for i := range n {
		text := make([]byte, size)
		_, _ = random.Read(text)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("f%d", i), Mode: 0o644, Size: int64(size)}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(text)
	}
	w.Close()
	return b.Bytes()
}

// A disk that runs full of bytes or of inodes: the error names it, nothing half is
// left, what was there works on, and deleting works.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounting a file system needs root")
	}
	for name, tt := range map[string]struct {
		inodes, files, size int
	}{
		"no space": {4096, 40, 1 << 20}, "no inodes": {256, 1000, 10},
	} {
		t.Run(name, func(t *testing.T) {
			root := smallDisk(t, tt.inodes)
			store, err := state.Open(filepath.Join(root, "state.db"))
			if err != nil {
				t.Fatal(err)
			}
			images, err := image.New(image.Config{Root: root, Log: slog.New(slog.DiscardHandler)}, store, silent{})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			defer images.Close()
			s := New(images)
			small := many(t, 5, 100)
			if _, err := images.Import(t.Context(), bytes.NewReader(small), image.ImportOptions{Reference: "small:1"}, io.Discard); err != nil {
				t.Fatal(err)
			}
			before := free(t, images, root)
			big := many(t, tt.files, tt.size)
			plain := pack(t, map[string]string{"manifest.json": encode(t, []item{{Config: "c", RepoTags: []string{"big:1"}, Layers: []string{"l"}}}), "c": configOf(string(big)), "l": string(big)})
			for what, fill := range map[string]func() error{
				"import": func() error {
					_, err := images.Import(t.Context(), bytes.NewReader(big), image.ImportOptions{Reference: "big:1"}, io.Discard)
					return err
				},
				"load": func() error { return s.Load(t.Context(), bytes.NewReader(plain), LoadOptions{Quiet: true}, io.Discard) },
				"commit": func() error {
					parent, err := images.Get(t.Context(), "small:1")
					if err != nil {
						return err
					}
					_, err = images.Commit(t.Context(), bytes.NewReader(big), image.CommitOptions{Parent: parent.ID.String(), Reference: "big:1"})
					return err
				},
			} {
				err := fill()
				if !errors.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
					t.Errorf("%s: %v", what, err)
				}
				if after := free(t, images, root); after < before {
					t.Errorf("%s: %d free, %d before", what, after, before)
				}
				if report, err := integrity.New(images).Check(t.Context()); err != nil || len(report.Damaged) > 0 || images.Count() != 1 {
					t.Errorf("%s: %+v, %v, %d images", what, report, err, images.Count())
				}
			}
			// With the disk filled to the last byte, what is there can go.
			exhaust(t, root)
			if _, err := images.Delete(t.Context(), "small:1", false, true); err != nil {
				t.Errorf("delete on a full disk: %v", err)
			}
			if _, err := images.Prune(t.Context(), image.PruneOptions{Unused: true}); err != nil {
				t.Errorf("prune on a full disk: %v", err)
			}
		})
	}
}

// free is the blocks and inodes that are free once removals have ended.
func free(t *testing.T, images *image.Service, root string) uint64 {
	t.Helper()
	images.Wait()
	var st unix.Statfs_t
	if err := unix.Syncfs(fd(t, root)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Statfs(root, &st); err != nil {
		t.Fatal(err)
	}
	return st.Bfree + st.Ffree
}

func fd(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// exhaust leaves neither a byte nor an inode.
func exhaust(t *testing.T, root string) {
	t.Helper()
	f, err := os.Create(filepath.Join(root, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); err != nil {
			if len(block) == 1 {
				break
			}
			block = block[:len(block)/2]
		}
	}
	for i := 0; ; i++ {
		if err := os.Symlink("x", filepath.Join(root, fmt.Sprintf("link%d", i))); err != nil {
			return
		}
	}
}
