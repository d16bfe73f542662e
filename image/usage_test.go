package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
)

// What df says is what du sees, within 2 %: of many small files, of large ones and
// of directories, and again after half of it has gone.
func TestDiskUsageIsWhatTheDiskHas(t *testing.T) {
	e := openEngine(t, t.TempDir())
	compare := func(when string) {
		t.Helper()
		e.Wait()
		said, err := e.DiskUsage()
		if err != nil {
			t.Fatal(err)
		}
		has := allocated(t, filepath.Join(e.Root(), "layers/sha256")) + allocated(t, filepath.Join(e.Root(), "blobs"))
		if diff := said - has; diff > has/50 || -diff > has/50 {
			t.Errorf("%s: df says %d, the disk has %d", when, said, has)
		}
	}
	for i, size := range []int{700, 5000, 300000} {
		if _, err := e.Import(t.Context(), bytes.NewReader(random(t, uint64(i), 3000000/size+300, size)), ImportOptions{Reference: fmt.Sprintf("app%d:1", i)}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	compare("three images")
	for i := range 2 {
		if _, err := e.Delete(t.Context(), fmt.Sprintf("app%d:1", i), false, true); err != nil {
			t.Fatal(err)
		}
	}
	compare("one image")
}

// random is a tar of n files of about size bytes, thirty to a directory.
func random(t *testing.T, seed uint64, n, size int) []byte {
	t.Helper()
	source := rand.NewChaCha8([32]byte{byte(seed)})
	r := rand.New(source)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range n {
		text := make([]byte, size/2+r.IntN(size))
		_, _ = source.Read(text)
		h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("d%d/f%d", i/30, i), Mode: 0o644, Size: int64(len(text))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// allocated is what du says of a directory, in bytes.
func allocated(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
