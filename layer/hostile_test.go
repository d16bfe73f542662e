package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/test/hostile/tars"
)

func TestHostileTarsDoNoHarm(t *testing.T) {
	outside := tars.NewCanary(t)
	for _, attack := range tars.All(t, outside) {
		t.Run(attack.Name, func(t *testing.T) {
			s := openStore(t)
			_, err := s.Unpack(t.Context(), bytes.NewReader(attack.Raw), "")
			switch {
			case attack.Refused && !errors.Is(err, fault.Invalid):
				t.Errorf("Unpack = %v, want a refusal", err)
			case !attack.Refused && err != nil:
				t.Errorf("Unpack = %v, want it contained", err)
			}
			if err != nil {
				empty(t, s)
			}
			outside.Check(t)
		})
	}
}

func TestLinkBecomesFile(t *testing.T) {
	_, root := unpack(t, openStore(t), pack(t, link(tar.TypeSymlink, "f", "/etc/passwd"), file("f", "mine")))
	if st := lstat(t, root+"/f"); st.Mode&unix.S_IFMT != unix.S_IFREG {
		t.Errorf("f has mode %o", st.Mode)
	}
}

func TestParentThroughLinkStaysInside(t *testing.T) {
	info, root := unpack(t, openStore(t), pack(t, dir("usr/bin/", 0o755), link(tar.TypeSymlink, "bin", "/usr/bin"), file("bin/tool", "x")))
	if got, err := os.ReadFile(root + "/usr/bin/tool"); err != nil || string(got) != "x" {
		t.Errorf("usr/bin/tool = %q, %v", got, err)
	}
	for _, p := range info.Implied {
		if strings.HasPrefix(p, "bin") {
			t.Errorf("%q is implied: it is a link", p)
		}
	}
}

func TestDamagedArchives(t *testing.T) {
	whole := pack(t, dir("d/", 0o755), file("d/a", strings.Repeat("x", 3000)), file("d/b", "y"))
	for name, test := range map[string]struct {
		raw  []byte
		want string
	}{
		"text":                {[]byte(strings.Repeat("this is no tar archive\n", 100)), "not a tar archive"},
		"short text":          {[]byte("hello"), "cut off"},
		"cut in a file":       {whole[:2000], "cut off"},
		"cut in a header":     {whole[:700], "cut off"},
		"header overwritten":  {append(append(bytes.Clone(whole[:512]), bytes.Repeat([]byte{7}, 512)...), whole[1024:]...), "damaged"},
		"gzip of text":        {gzipped(t, []byte(strings.Repeat("no tar\n", 200))), "not a tar archive"},
		"gzip magic, no more": {[]byte("\x1f\x8b\x08garbage garbage garbage"), "damaged"},
		"xz magic, no more":   {[]byte("\xfd7zXZ\x00garbage garbage garbage"), "damaged"},
		"zstd magic, no more": {[]byte("\x28\xb5\x2f\xfdgarbage garbage garbage"), "damaged"},
		"bzip2 magic":         {[]byte("BZh9garbage garbage garbage"), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			_, err := s.Unpack(t.Context(), bytes.NewReader(test.raw), "")
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Unpack = %v, want an invalid archive: …%s…", err, test.want)
			}
			empty(t, s)
		})
	}
}

func gzipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeros makes a tar of one file of n zero bytes, compressed, without holding it.
func zeros(t *testing.T, n int64, compress func(io.Writer) io.WriteCloser) io.Reader {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	go func() {
		z := compress(w)
		tw := tar.NewWriter(z)
		err := tw.WriteHeader(&tar.Header{Name: "zeros", Size: n, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatGNU})
		block := make([]byte, 1<<20)
		for left := n; left > 0 && err == nil; left -= int64(len(block)) {
			_, err = tw.Write(block[:min(left, int64(len(block)))])
		}
		if err == nil {
			err = errors.Join(tw.Close(), z.Close())
		}
		w.CloseWithError(err)
	}()
	return r
}

func TestBombsAreRefusedInBoundedMemory(t *testing.T) {
	for name, compress := range map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Error(err)
			}
			return z
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			_, err := s.Unpack(t.Context(), zeros(t, 10*gib, compress), "")
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "bomb") {
				t.Errorf("Unpack = %v, want a refused bomb", err)
			}
			empty(t, s)
		})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.Sys > 256*mib {
		t.Errorf("the process has taken %d MiB", m.Sys/mib)
	}
}

// dictionaryBomb is an xz file whose second block asks for 1.5 GiB: the first
// is harmless, so looking at the file's beginning is not enough.
func TestXzDictionaryIsBounded(t *testing.T) {
	header := []byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 0, 0xff, 0x12, 0xd9, 0x41}
	block := func(dictionary byte) []byte {
		return []byte{2, 0, 0x21, 1, dictionary, 0, 0, 0, 0, 0, 0, 0}
	}
	chunk := []byte{1, 0, 3, 'd', 'a', 't', 'a', 0}
	for name, test := range map[string]struct {
		file   []byte
		refuse bool
	}{
		"small, then huge": {bytes.Join([][]byte{header, block(18), chunk, block(37), chunk}, nil), true},
		"huge":             {bytes.Join([][]byte{header, block(40), chunk}, nil), true},
		"small twice":      {bytes.Join([][]byte{header, block(18), chunk, block(20), chunk}, nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := io.ReadAll(&xzFrames{r: newReader(test.file)})
			if refused := errors.Is(err, fault.Invalid); refused != test.refuse {
				t.Errorf("read %d of %d bytes: %v", len(out), len(test.file), err)
			}
			if !bytes.HasPrefix(test.file, out) {
				t.Error("the bytes were changed on their way")
			}
		})
	}
}

func TestTooManyDirectories(t *testing.T) {
	d := &directories{}
	var err error
	for range maxDirectories {
		if err = d.remember("d"); err != nil {
			t.Fatal(err)
		}
	}
	if err = d.remember("d"); !errors.Is(err, fault.Invalid) {
		t.Errorf("remember = %v, want a limit", err)
	}
	d = &directories{}
	long := strings.Repeat("d", maxPath)
	for range maxDirectoryBytes/maxPath + 1 {
		err = d.remember(long)
	}
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("remember of long names = %v, want a limit", err)
	}
}

func TestSparseClaimIsBounded(t *testing.T) {
	raw := pack(t, member{tar.Header{Typeflag: tar.TypeReg, Name: "s", Mode: 0o644}, strings.Repeat("0\n", 256)})
	// An old GNU sparse header that claims 8 EiB with no data.
	h := raw[:512]
	copy(h[124:136], "00000000000\x00")
	h[156] = 'S'
	copy(h[257:265], "ustar  \x00")
	copy(h[483:495], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	sum := 0
	copy(h[148:156], "        ")
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:156], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	s := openStore(t)
	_, err := s.Unpack(t.Context(), bytes.NewReader(append(bytes.Clone(h), make([]byte, 1024)...)), "")
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("Unpack = %v, want a refusal", err)
	}
	empty(t, s)
}

func FuzzUnpack(f *testing.F) {
	outside := tars.NewCanary(f)
	for _, attack := range tars.All(f, outside) {
		f.Add(attack.Raw)
	}
	// On tmpfs, where it is: syncing a disk for each input leaves few tries.
	if dir, err := os.MkdirTemp("/dev/shm", "sampan-fuzz-"); err == nil {
		f.Cleanup(func() { os.RemoveAll(dir) })
		f.Setenv("TMPDIR", dir)
	}
	s := openStore(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := s.Unpack(t.Context(), bytes.NewReader(raw), "")
		if err == nil {
			s.Release(info.DiffID)
			if err := s.Remove(info.DiffID); err != nil {
				t.Error(err)
			}
		}
		outside.Check(t)
	})
}

func FuzzXzFrames(f *testing.F) {
	f.Add([]byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 0, 0xff, 0x12, 0xd9, 0x41, 2, 0, 0x21, 1, 18, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 'd', 'a', 't', 'a', 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, _ := io.ReadAll(&xzFrames{r: newReader(raw)})
		if !bytes.HasPrefix(raw, out) {
			t.Errorf("the bytes were changed on their way")
		}
	})
}

func newReader(p []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(p)) }
