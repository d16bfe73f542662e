package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: layers hold device nodes and other owners' files, so these tests need root")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// member is one entry of a test's tar; content is only for regular files.
type member struct {
	tar.Header
	content string
}

func dir(name string, mode int64) member {
	return member{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}

func file(name, content string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content}
}

func link(kind byte, name, target string) member {
	return member{Header: tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}}
}

func pack(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		m.Size = int64(len(m.content))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpack(t testing.TB, s *Store, raw []byte) (*Info, string) {
	t.Helper()
	info, err := s.Unpack(t.Context(), bytes.NewReader(raw), digest.FromBytes(raw))
	if err != nil {
		t.Fatal(err)
	}
	return info, filepath.Join(s.path(info.DiffID), rootDir)
}

func lstat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("lstat %s: %v", path, err)
	}
	return st
}

func opaque(path string) bool {
	value := make([]byte, 8)
	n, err := unix.Lgetxattr(path, opaqueXattr, value)
	return err == nil && string(value[:n]) == "y"
}

func TestUnpackKeepsEverything(t *testing.T) {
	s := openStore(t)
	at := time.Unix(1_600_000_000, 123_456_789)
	raw := pack(t,
		member{Header: tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o751, Uid: 3, Gid: 4, ModTime: at, Format: tar.FormatPAX}},
		dir("d/", 0o1777),
		member{tar.Header{Typeflag: tar.TypeReg, Name: "d/file", Mode: 0o4755, Uid: 1000, Gid: 2000, ModTime: at, Format: tar.FormatPAX,
			PAXRecords: map[string]string{
				"SCHILY.xattr.user.note":              "kept",
				"SCHILY.xattr.trusted.overlay.opaque": "y",
				"SCHILY.xattr.user.overlay.redirect":  "/etc",
				"SCHILY.xattr.security.capability":    "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
			}}, "content"},
		link(tar.TypeLink, "d/hard", "d/file"),
		link(tar.TypeSymlink, "d/soft", "/etc/passwd"),
		member{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o640}},
		member{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}},
		member{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o660, Devmajor: 254, Devminor: 300}},
		file(strings.Repeat("long/", 30)+strings.Repeat("n", 200), "deep"),
	)
	info, root := unpack(t, s, raw)
	if info.Size != int64(len("content")+len("deep")) {
		t.Errorf("Size = %d: hard links count once", info.Size)
	}
	if st := lstat(t, root); st.Mode&0o7777 != 0o751 || st.Uid != 3 || st.Gid != 4 || st.Mtim.Nano() != at.UnixNano() {
		t.Errorf("root: mode %o, owner %d:%d, time %d", st.Mode, st.Uid, st.Gid, st.Mtim.Nano())
	}
	st := lstat(t, root+"/d/file")
	if st.Mode != unix.S_IFREG|0o4755 || st.Uid != 1000 || st.Gid != 2000 || st.Mtim.Nano() != at.UnixNano() || st.Nlink != 2 {
		t.Errorf("d/file: mode %o, owner %d:%d, time %d, links %d", st.Mode, st.Uid, st.Gid, st.Mtim.Nano(), st.Nlink)
	}
	if hard := lstat(t, root+"/d/hard"); hard.Ino != st.Ino {
		t.Error("d/hard is not the same inode as d/file")
	}
	names := make([]byte, 256)
	n, err := unix.Llistxattr(root+"/d/file", names)
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(strings.Trim(string(names[:n]), "\x00"), "\x00")
	slices.Sort(have)
	if !slices.Equal(have, []string{"security.capability", "user.note"}) {
		t.Errorf("xattrs = %q: those of the overlay must be dropped", have)
	}
	if target, err := os.Readlink(root + "/d/soft"); err != nil || target != "/etc/passwd" {
		t.Errorf("d/soft → %q, %v", target, err)
	}
	if st := lstat(t, root+"/fifo"); st.Mode != unix.S_IFIFO|0o640 {
		t.Errorf("fifo: mode %o", st.Mode)
	}
	if st := lstat(t, root+"/null"); st.Mode != unix.S_IFCHR|0o666 || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("null: mode %o, device %x", st.Mode, st.Rdev)
	}
	if st := lstat(t, root+"/disk"); st.Rdev != unix.Mkdev(254, 300) {
		t.Errorf("disk: device %x", st.Rdev)
	}
	if st := lstat(t, root+"/d"); st.Mode&0o7777 != 0o1777 {
		t.Errorf("d: mode %o", st.Mode)
	}
}

func TestUnpackToldApartByMagic(t *testing.T) {
	raw := pack(t, dir("./", 0o755), file("a", strings.Repeat("words and words ", 5000)))
	compress := map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	}
	forms := map[string][]byte{"plain": raw}
	for name, f := range compress {
		var b bytes.Buffer
		w, err := f(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		forms[name] = b.Bytes()
		forms[name+" of two streams"] = append(compressed(t, f, raw[:1000]), compressed(t, f, raw[1000:])...)
	}
	for _, program := range []string{"bzip2", "xz"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Logf("%s is not installed: its own output is not tried", program)
			continue
		}
		cmd := exec.Command(path, "-c")
		cmd.Stdin = bytes.NewReader(raw)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		forms[program+" program"] = out
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			info, err := s.Unpack(t.Context(), bytes.NewReader(form), "")
			if err != nil {
				t.Fatal(err)
			}
			if want := digest.FromBytes(raw); info.DiffID != want {
				t.Errorf("diffID = %s, want %s", info.DiffID, want)
			}
			if name == "plain" {
				return
			}
			s = openStore(t)
			if info, err := s.Unpack(t.Context(), bytes.NewReader(form[:len(form)*2/3]), ""); !errors.Is(err, fault.Invalid) {
				t.Errorf("cut off: %+v, %v, want an invalid archive", info, err)
			}
			empty(t, s)
		})
	}
}

func compressed(t *testing.T, f func(io.Writer) (io.WriteCloser, error), raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := f(&b)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// empty checks that a failed unpack has left nothing.
func empty(t testing.TB, s *Store) {
	t.Helper()
	s.Wait()
	for _, dir := range []string{s.layers, s.tmp, s.mended} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
}

func TestDiffIDMustMatch(t *testing.T) {
	s := openStore(t)
	want := digest.FromString("another layer")
	_, err := s.Unpack(t.Context(), bytes.NewReader(pack(t, file("a", "b"))), want)
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want.String()) {
		t.Errorf("Unpack = %v, want an invalid layer that names both digests", err)
	}
	empty(t, s)
}

func TestSparseFilesStaySparse(t *testing.T) {
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("GNU tar is not installed: nothing else here writes sparse archives")
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	if _, err := f.WriteAt([]byte("middle"), size/2); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "posix"} {
		t.Run(format, func(t *testing.T) {
			raw, err := exec.Command("tar", "-C", dir, "-S", "--format="+format, "-cf", "-", "sparse").Output()
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > 1<<20 {
				t.Fatalf("tar stored %d bytes: not as a sparse file", len(raw))
			}
			info, root := unpack(t, openStore(t), raw)
			st := lstat(t, root+"/sparse")
			if st.Size != size || info.Size != size {
				t.Errorf("size = %d, info %d, want %d", st.Size, info.Size, size)
			}
			if st.Blocks*512 > 1<<20 {
				t.Errorf("takes %d bytes of disk", st.Blocks*512)
			}
			got := make([]byte, 6)
			g, err := os.Open(root + "/sparse")
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			if _, err := g.ReadAt(got, size/2); err != nil || string(got) != "middle" {
				t.Errorf("content = %q, %v", got, err)
			}
		})
	}
}

func TestWhiteouts(t *testing.T) {
	for name, test := range map[string]struct {
		members   []member
		whiteouts []string
		opaque    []string
		plain     []string // directories that must not be opaque
	}{
		"a file":                {[]member{dir("d/", 0o755), file("d/.wh.gone", "")}, []string{"d/gone"}, nil, []string{"d"}},
		"opaque":                {[]member{dir("d/", 0o755), file("d/.wh..wh..opq", ""), file("d/new", "")}, nil, []string{"d"}, nil},
		"opaque implied":        {[]member{file("d/.wh..wh..opq", "")}, nil, []string{"d"}, nil},
		"AUFS metadata":         {[]member{file(".wh..wh.aufs", ""), dir(".wh..wh.plnk/", 0o700), dir("d/", 0o755)}, nil, nil, []string{"d"}},
		"then a directory":      {[]member{file(".wh.d", ""), dir("d/", 0o755)}, nil, []string{"d"}, nil},
		"after a directory":     {[]member{dir("d/", 0o755), file(".wh.d", "")}, nil, []string{"d"}, nil},
		"then a file inside":    {[]member{file(".wh.d", ""), file("d/f", "")}, nil, []string{"d"}, nil},
		"file, then directory":  {[]member{file("d", ""), dir("d/", 0o755)}, nil, []string{"d"}, nil},
		"twice":                 {[]member{file(".wh.x", ""), file(".wh.x", "")}, []string{"x"}, nil, nil},
		"device 0:0":            {[]member{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "x"}}}, []string{"x"}, nil, nil},
		"directory again":       {[]member{dir("d/", 0o700), file("d/f", ""), dir("d/", 0o755)}, nil, nil, []string{"d"}},
		"in an absolute parent": {[]member{file("/d/.wh.gone", "")}, []string{"d/gone"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, root := unpack(t, openStore(t), pack(t, test.members...))
			for _, p := range test.whiteouts {
				if st := lstat(t, filepath.Join(root, p)); !isWhiteout(&st) {
					t.Errorf("%s: mode %o, device %d, want a whiteout", p, st.Mode, st.Rdev)
				}
			}
			for _, p := range test.opaque {
				if !opaque(filepath.Join(root, p)) {
					t.Errorf("%s is not opaque", p)
				}
			}
			for _, p := range test.plain {
				if opaque(filepath.Join(root, p)) {
					t.Errorf("%s is opaque", p)
				}
			}
			err := filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
				if strings.HasPrefix(filepath.Base(p), whiteoutPrefix) {
					t.Errorf("a marker became a file: %s", p)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestFileWinsOverWhiteoutOfItsOwnLayer(t *testing.T) {
	_, root := unpack(t, openStore(t), pack(t, file("x", "stays"), file(".wh.x", "")))
	if got, err := os.ReadFile(root + "/x"); err != nil || string(got) != "stays" {
		t.Errorf("x = %q, %v", got, err)
	}
}

func TestOpenRemovesWhatACrashLeft(t *testing.T) {
	root := t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := Open(root, log)
	if err != nil {
		t.Fatal(err)
	}
	raw := pack(t, file("a", "b"))
	info, err := s.Unpack(t.Context(), bytes.NewReader(raw), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.tmp, "unpack-1", "fs", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(root, log); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Wait()
	if entries, err := os.ReadDir(s.tmp); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if got, err := s.Stat(info.DiffID); err != nil || got.Size != 1 {
		t.Errorf("the finished layer is lost: %+v, %v", got, err)
	}
}

func TestHeldLayersStay(t *testing.T) {
	s := openStore(t)
	raw := pack(t, file("a", "b"))
	info, err := s.Unpack(t.Context(), bytes.NewReader(raw), "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Unpack(t.Context(), bytes.NewReader(raw), ""); err != nil || again.DiffID != info.DiffID {
		t.Fatalf("second Unpack = %+v, %v", again, err)
	}
	for range 2 {
		if err := s.Remove(info.DiffID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(info.DiffID); err != nil {
			t.Fatalf("a held layer was removed: %v", err)
		}
		s.Release(info.DiffID)
	}
	if err := s.Remove(info.DiffID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(info.DiffID); !errors.Is(err, fault.NotFound) {
		t.Errorf("Stat of a removed layer = %v", err)
	}
	empty(t, s)
}

func TestConcurrentUnpacksOfOneLayer(t *testing.T) {
	s := openStore(t)
	raw := pack(t, dir("d/", 0o755), file("d/a", strings.Repeat("x", 100_000)))
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := s.Unpack(t.Context(), bytes.NewReader(raw), digest.FromBytes(raw))
			results <- err
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	s.Wait()
	if entries, err := os.ReadDir(s.layers); err != nil || len(entries) != 1 {
		t.Errorf("layers: %v, %v", entries, err)
	}
	if entries, err := os.ReadDir(s.tmp); err != nil || len(entries) != 0 {
		t.Errorf("temporary directories left: %v, %v", entries, err)
	}
}

// Chunked zstd (of podman and containers/storage) is several frames, with frames
// between and behind them that decoders pass over.
func TestChunkedZstd(t *testing.T) {
	raw := pack(t, file("a", strings.Repeat("first", 1000)), file("b", strings.Repeat("second", 1000)))
	var b bytes.Buffer
	for _, part := range [][]byte{raw[:3000], raw[3000:5000], raw[5000:]} {
		b.Write(compressed(t, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }, part))
		b.Write([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 'i', 'n', 'f', 'o'})
	}
	s := openStore(t)
	info, err := s.Unpack(t.Context(), &b, digest.FromBytes(raw))
	if err != nil || info.Size != 11000 || info.TarSize != int64(len(raw)) {
		t.Errorf("%+v, %v", info, err)
	}
}
