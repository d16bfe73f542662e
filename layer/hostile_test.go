package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// canary is files outside of every root that no archive may change, and the
// store they lie beside.
type canary struct {
	dir  string
	sums map[string]string
}

func newCanary(t testing.TB) *canary {
	t.Helper()
	c := &canary{dir: t.TempDir(), sums: map[string]string{}}
	if err := os.MkdirAll(filepath.Join(c.dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/passwd", "secret"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte("canary of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.sums = c.state(t)
	return c
}

// state describes everything below the directory: names, modes, owners, links, content.
func (c *canary) state(t testing.TB) map[string]string {
	t.Helper()
	state := map[string]string{}
	err := filepath.WalkDir(c.dir, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st := lstat(t, p)
		text := hex.EncodeToString([]byte{byte(st.Mode >> 8), byte(st.Mode)}) + " " + string(rune('0'+st.Nlink))
		if e.Type().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			text += hex.EncodeToString(sum[:])
		}
		state[p] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func (c *canary) check(t testing.TB) {
	t.Helper()
	now := c.state(t)
	for p, was := range c.sums {
		if now[p] != was {
			t.Errorf("%s changed: %q is now %q", p, was, now[p])
		}
	}
	for p := range now {
		if _, ok := c.sums[p]; !ok {
			t.Errorf("%s appeared", p)
		}
	}
}

// hostile is the corpus of attacks on an extraction (A1 of the threat list);
// OUT stands for the canary's directory.
var hostile = map[string]struct {
	members []member
	refused bool // else contained: it unpacks and does no harm
}{
	"absolute name":            {[]member{file("OUT/secret", "x")}, false},
	"climbing name":            {[]member{file("../../../../../../../../OUT/secret", "x")}, true},
	"climbing inside":          {[]member{file("a/../../../../../../OUT/secret", "x")}, true},
	"dot dot alone":            {[]member{dir("..", 0o777)}, true},
	"dot dot directory":        {[]member{dir("../", 0o777)}, true},
	"link then file":           {[]member{link(tar.TypeSymlink, "l", "OUT"), file("l/secret", "x")}, true},
	"relative link then file":  {[]member{link(tar.TypeSymlink, "l", "../../../../../../../../OUT"), file("l/secret", "x")}, true},
	"link to root, then file":  {[]member{link(tar.TypeSymlink, "l", "/"), file("l/OUT/secret", "x")}, false},
	"link is the file":         {[]member{link(tar.TypeSymlink, "f", "OUT/secret"), file("f", "x")}, false},
	"dangling link, then file": {[]member{link(tar.TypeSymlink, "f", "OUT/new"), file("f", "x")}, false},
	"chain of links":           {[]member{link(tar.TypeSymlink, "a", "b"), link(tar.TypeSymlink, "b", "OUT"), file("a/secret", "x")}, true},
	"loop of links":            {[]member{link(tar.TypeSymlink, "a", "b"), link(tar.TypeSymlink, "b", "a"), file("a/x", "x")}, true},
	"magic link":               {[]member{link(tar.TypeSymlink, "p", "/proc/self/cwd"), file("p/x", "x")}, true},
	"hard link to the host":    {[]member{link(tar.TypeLink, "h", "OUT/secret"), file("h", "x")}, true},
	"hard link, climbing":      {[]member{link(tar.TypeLink, "h", "../../../../../../OUT/secret"), file("h", "x")}, true},
	"hard link through a link": {[]member{link(tar.TypeSymlink, "l", "OUT"), link(tar.TypeLink, "h", "l/secret")}, true},
	"hard link to a link":      {[]member{link(tar.TypeSymlink, "l", "OUT/secret"), link(tar.TypeLink, "h", "l"), file("h", "x")}, false},
	"hard link to itself":      {[]member{file("h", "x"), link(tar.TypeLink, "h", "h")}, false},
	"hard link to a directory": {[]member{dir("d", 0o755), link(tar.TypeLink, "h", "d")}, true},
	"hard link to the root":    {[]member{link(tar.TypeLink, "h", "/")}, true},
	"mode through a link":      {[]member{link(tar.TypeSymlink, "l", "OUT/secret"), {Header: tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "l", Mode: 0o7777, Uid: 1000}}}, false},
	"mode of a link":           {[]member{{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "OUT/secret", Mode: 0o7777, Uid: 1000}}}, false},
	"directory over a link":    {[]member{link(tar.TypeSymlink, "l", "OUT/etc"), dir("l", 0o777), file("l/passwd", "x")}, false},
	"link over a directory":    {[]member{dir("d", 0o755), file("d/f", "x"), link(tar.TypeSymlink, "d", "OUT/etc"), file("d/passwd", "x")}, true},
	"file over a directory":    {[]member{dir("d/e", 0o755), file("d/e/f", "x"), file("d", "x")}, false},
	"times through a swap":     {[]member{dir("d", 0o755), dir("d/etc", 0o700), link(tar.TypeSymlink, "d", "OUT")}, false},
	"whiteout through a link":  {[]member{link(tar.TypeSymlink, "l", "OUT"), file("l/.wh.secret", "")}, true},
	"opaque through a link":    {[]member{link(tar.TypeSymlink, "l", "OUT/etc"), file("l/.wh..wh..opq", "")}, true},
	"whiteout of dot dot":      {[]member{file("d/.wh...", "")}, true},
	"whiteout of dot":          {[]member{file("d/.wh..", "")}, true},
	"whiteout of nothing":      {[]member{file("d/.wh.", "")}, true},
	"root as a file":           {[]member{file(".", "x")}, true},
	"root as a link":           {[]member{link(tar.TypeSymlink, "/", "OUT")}, true},
	"file as a parent":         {[]member{file("f", "x"), file("f/g", "x")}, true},
	"device as a parent":       {[]member{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "n", Devmajor: 1, Devminor: 3}}, file("n/x", "x")}, true},
	"write through a device":   {[]member{{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "n", Mode: 0o666, Devmajor: 7, Devminor: 255}}, file("n", "x")}, false},
	"write through a FIFO":     {[]member{{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o666}}, file("p", "x")}, false},
	"name too long":            {[]member{file(strings.Repeat("n", 300), "x")}, true},
	"path too long":            {[]member{file(strings.Repeat("d/", 3000)+"f", "x")}, true},
	"owner out of range":       {[]member{{tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1 << 40}, ""}}, true},
	"owner means leave alone":  {[]member{{tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 1<<32 - 1}, ""}}, true},
	"device out of range":      {[]member{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "n", Devmajor: 1 << 20, Devminor: 3}}}, true},
	"empty link":               {[]member{link(tar.TypeSymlink, "l", "")}, true},
	"unknown type":             {[]member{{Header: tar.Header{Typeflag: 'Z', Name: "z"}}}, true},
	"double slashes and dots":  {[]member{file(".//a/./b//c", "x")}, false},
	"name of control bytes":    {[]member{file("a\x1b[2Jb\nc", "x")}, false},
}

func TestHostileTarsDoNoHarm(t *testing.T) {
	for name, attack := range hostile {
		t.Run(name, func(t *testing.T) {
			outside := newCanary(t)
			var members []member
			for _, m := range attack.members {
				m.Format = tar.FormatPAX
				m.Name = strings.ReplaceAll(m.Name, "OUT", outside.dir)
				m.Linkname = strings.ReplaceAll(m.Linkname, "OUT", outside.dir)
				members = append(members, m)
			}
			s := openStore(t)
			_, err := s.Unpack(t.Context(), bytes.NewReader(pack(t, members...)), "")
			switch {
			case attack.refused && !errors.Is(err, fault.Invalid):
				t.Errorf("Unpack = %v, want a refusal", err)
			case !attack.refused && err != nil:
				t.Errorf("Unpack = %v, want it contained", err)
			}
			if err != nil {
				empty(t, s)
			}
			outside.check(t)
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
	outside := newCanary(f)
	for _, attack := range hostile {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, m := range attack.members {
			m.Size = int64(len(m.content))
			m.Name = strings.ReplaceAll(m.Name, "OUT", outside.dir)
			m.Linkname = strings.ReplaceAll(m.Linkname, "OUT", outside.dir)
			if w.WriteHeader(&m.Header) != nil {
				break
			}
			io.WriteString(w, m.content)
		}
		f.Add(b.Bytes())
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
		outside.check(t)
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
