package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/test/hostile/tars"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a root with a canary beside it that nothing may change.
func place(t testing.TB) (*inroot.Root, string, func()) {
	t.Helper()
	base := t.TempDir()
	must(t, os.WriteFile(filepath.Join(base, "canary"), []byte("canary"), 0o600))
	dir := filepath.Join(base, "root")
	must(t, os.MkdirAll(filepath.Join(dir, "d"), 0o755))
	root, err := inroot.Open(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root, dir, func() {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(base, "canary"))
		st, serr := os.Lstat(filepath.Join(base, "canary"))
		if err != nil || serr != nil || string(raw) != "canary" || st.Mode() != 0o600 || st.Sys() == nil {
			t.Errorf("the file outside of the root was changed: %q, %v, %v", raw, st, err)
		}
		if names, _ := filepath.Glob(filepath.Join(base, "*")); len(names) != 2 {
			t.Errorf("something was made outside of the root: %v", names)
		}
	}
}

func stream(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		body := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Size, h.Linkname = int64(len(body)), ""
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, body)
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

// The hostile corpus of A1: nothing leaves the root, and what is refused is refused.
func TestUnpackStaysInside(t *testing.T) {
	reg := func(name, text string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: text}
	}
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	hard := func(name, to string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to} }
	tests := map[string]struct {
		entries []tar.Header
		bad     bool
	}{
		"absolute":               {[]tar.Header{reg("/canary", "x")}, false},
		"climbs":                 {[]tar.Header{reg("../canary", "x")}, true},
		"climbs inside":          {[]tar.Header{reg("a/../../canary", "x")}, true},
		"link then file":         {[]tar.Header{link("l", "../.."), reg("l/canary", "x")}, false},
		"absolute link":          {[]tar.Header{link("l", "/"), reg("l/canary", "x")}, false},
		"file over link":         {[]tar.Header{link("l", "../../canary"), reg("l", "x")}, false},
		"hard link out":          {[]tar.Header{hard("h", "../canary")}, true},
		"hard link through link": {[]tar.Header{link("l", "../.."), hard("h", "l/canary"), reg("h", "x")}, true},
		"mode through link":      {[]tar.Header{link("l", "../../canary"), {Name: "l", Typeflag: tar.TypeDir, Mode: 0o777}}, false},
		"owner out of range":     {[]tar.Header{{Name: "f", Typeflag: tar.TypeReg, Uid: 1<<32 - 1}}, true},
		"root as a file":         {[]tar.Header{reg(".", "x")}, true},
		"unknown type":           {[]tar.Header{{Name: "f", Typeflag: 'Z'}}, true},
		"FIFO":                   {[]tar.Header{{Name: "p", Typeflag: tar.TypeFifo}, reg("p", "x")}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root, _, check := place(t)
			err := Unpack(t.Context(), bytes.NewReader(stream(t, tt.entries...)), root, "d", UnpackOptions{})
			if (err != nil) != tt.bad {
				t.Errorf("got %v", err)
			}
			check()
		})
	}
	// The whole corpus, as a copy into a container or out of one would unpack it.
	outside := tars.NewCanary(t)
	for _, attack := range tars.All(t, outside) {
		t.Run("corpus: "+attack.Name, func(t *testing.T) {
			root, _, check := place(t)
			_ = Unpack(t.Context(), bytes.NewReader(attack.Raw), root, "d", UnpackOptions{})
			check()
			outside.Check(t)
		})
	}
	t.Run("cut off", func(t *testing.T) {
		root, _, _ := place(t)
		raw := stream(t, reg("f", strings.Repeat("x", 5000)))
		if err := Unpack(t.Context(), bytes.NewReader(raw[:2000]), root, ".", UnpackOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("got %v", err)
		}
		if err := Unpack(t.Context(), strings.NewReader(strings.Repeat("no tar", 500)), root, ".", UnpackOptions{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnpackRules(t *testing.T) {
	root, dir, _ := place(t)
	one := func(h tar.Header, o UnpackOptions) error {
		return Unpack(t.Context(), bytes.NewReader(stream(t, h)), root, ".", o)
	}
	strict := UnpackOptions{NoOverwriteDirNonDir: true}
	if err := one(tar.Header{Name: "d", Typeflag: tar.TypeReg}, strict); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "cannot overwrite directory") {
		t.Errorf("got %v", err)
	}
	must(t, one(tar.Header{Name: "f", Typeflag: tar.TypeReg, Linkname: "one"}, strict))
	if err := one(tar.Header{Name: "f", Typeflag: tar.TypeDir, Mode: 0o755}, strict); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
	must(t, one(tar.Header{Name: "src/a", Typeflag: tar.TypeReg, Linkname: "two", Mode: 0o4711}, UnpackOptions{From: "src", To: "dst", Owner: &[2]int{7, 8}}))
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(dir, "dst/a"), &st))
	if st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o4711 {
		t.Errorf("owner %d:%d, mode %o", st.Uid, st.Gid, st.Mode)
	}
	if err := one(tar.Header{Name: "other", Typeflag: tar.TypeReg}, UnpackOptions{From: "src", To: "dst"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an entry that nobody asked for: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	root, dir, _ := place(t)
	must(t, os.WriteFile(filepath.Join(dir, "d/f"), []byte("hello"), 0o640))
	must(t, os.Link(filepath.Join(dir, "d/f"), filepath.Join(dir, "d/h")))
	must(t, os.Symlink("/nowhere", filepath.Join(dir, "d/l")))
	must(t, unix.Mkfifo(filepath.Join(dir, "d/p"), 0o600))
	must(t, unix.Mknod(filepath.Join(dir, "d/gone"), unix.S_IFCHR, 0))
	for name, tt := range map[string]struct {
		at, name string
		o        PackOptions
		want     string
	}{
		"named":    {"d", "x", PackOptions{}, "x/ x/f x/gone x/h x/l x/p"},
		"content":  {"d/.", ".", PackOptions{}, "./ ./f ./gone ./h ./l ./p"},
		"root":     {"/", "", PackOptions{OmitTop: true}, "d/ d/f d/gone d/h d/l d/p"},
		"overlay":  {"d", "x", PackOptions{Overlay: true}, "x/ x/f x/.wh.gone x/h x/l x/p"},
		"link":     {"d/l", "l", PackOptions{}, "l"},
		"skipping": {"d", "x", PackOptions{Skip: func(p string, _ *unix.Stat_t) bool { return p != "f" }}, "x/ x/f"},
		"implied":  {"d", "x", PackOptions{Implied: map[string]bool{"": true}}, "x/f x/gone x/h x/l x/p"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			must(t, Pack(t.Context(), w, root, tt.at, tt.name, tt.o))
			must(t, w.Close())
			var names []string
			links := 0
			for r := tar.NewReader(bytes.NewReader(b.Bytes())); ; {
				h, err := r.Next()
				if err == io.EOF {
					break
				}
				must(t, err)
				names = append(names, h.Name)
				if h.Typeflag == tar.TypeLink {
					links++
				}
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			to, out, _ := place(t)
			must(t, Unpack(t.Context(), &b, to, ".", UnpackOptions{}))
			if links > 0 {
				a, _ := os.Stat(filepath.Join(out, "x/f"))
				h, _ := os.Stat(filepath.Join(out, "x/h"))
				if name == "named" && !os.SameFile(a, h) {
					t.Error("the hard link became a file of its own")
				}
			}
		})
	}
}

// A2: a directory and a link to / change places all the time.
func TestSwapRace(t *testing.T) {
	root, dir, check := place(t)
	must(t, os.Symlink("/", filepath.Join(dir, "evil")))
	must(t, os.MkdirAll(filepath.Join(dir, "good"), 0o755))
	must(t, os.Symlink("../..", filepath.Join(dir, "up")))
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			for _, name := range []string{"evil", "up"} {
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "good"), unix.AT_FDCWD, filepath.Join(dir, name), unix.RENAME_EXCHANGE)
			}
		}
	}()
	raw := stream(t, tar.Header{Name: "good/sampan-swap-test", Typeflag: tar.TypeReg, Linkname: "x"}, tar.Header{Name: "good/canary", Typeflag: tar.TypeReg, Linkname: "x"})
	const tries = 500
	for range tries {
		// Either is right: it lands somewhere in the root, or the race is reported.
		_ = Unpack(t.Context(), bytes.NewReader(raw), root, ".", UnpackOptions{})
		_ = Pack(t.Context(), tar.NewWriter(io.Discard), root, "good/", "x", PackOptions{Skip: func(p string, _ *unix.Stat_t) bool { return strings.Count(p, "/") > 1 }})
	}
	stop.Store(true)
	<-done
	check()
	if _, err := os.Lstat("/sampan-swap-test"); err == nil {
		t.Error("a file was made on the host")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(stream(f, tar.Header{Name: "d/x", Typeflag: tar.TypeReg, Linkname: "text"}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/"}, tar.Header{Name: "l/canary", Typeflag: tar.TypeReg}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		root, _, check := place(t)
		_ = Unpack(context.Background(), bytes.NewReader(raw), root, "d", UnpackOptions{})
		check()
	})
}
