// Package attack tries the attacks on the running engine that its security rests on
// withstanding, by their names in the threat list (A1 to A6 for archives and copies,
// G1 to G3 for registries). Packages try the same on themselves, with larger corpora;
// here it is the daemon, its client and the kernel together. G1 is also in
// image/transfer (TestLies), G2 and G3 in registry/client, A6 in test/scenario
// (TestHostileImageConfig).
//
// Each test passes only if files of the host, its core_pattern and the daemon's
// process are as before.
package attack

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/hostile/tars"
	"github.com/sampan-containers/sampan/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

const (
	base        = "base:test"
	corePattern = "/proc/sys/kernel/core_pattern"
)

// start starts a daemon with a busybox image and watches the host.
func start(t *testing.T) (*lab.Daemon, *tars.Canary) {
	t.Helper()
	outside := tars.NewCanary(t)
	pattern, err := os.ReadFile(corePattern)
	if err != nil {
		t.Fatal(err)
	}
	d := lab.Start(t)
	path := filepath.Join(t.TempDir(), "base.tar")
	if err := os.WriteFile(path, busybox(t), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Import(path, base)
	pid := d.Pid()
	t.Cleanup(func() {
		outside.Check(t)
		if now, err := os.ReadFile(corePattern); err != nil || !bytes.Equal(now, pattern) {
			t.Errorf("core_pattern is %q, was %q (%v)", now, pattern, err)
		}
		if d.Pid() != pid || d.Sampan("version").Code != 0 {
			t.Error("the daemon is another, or does not answer")
		}
	})
	return d, outside
}

// busybox is a root file system as a tar; more entries follow the usual ones.
func busybox(t *testing.T, more ...tar.Header) []byte {
	t.Helper()
	binary, err := os.ReadFile("/usr/bin/busybox")
	if err != nil {
		t.Fatalf("%v (install busybox-static)", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, text []byte) {
		h.Size = int64(len(text))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, binary)
	for _, name := range strings.Fields("sh sleep cat ls true mkdir") {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	for _, dir := range []string{"tmp/", "run/", "var/", "etc/"} {
		add(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "var/run", Typeflag: tar.TypeSymlink, Linkname: "/run"}, nil)
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"))
	for _, h := range more {
		text := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Linkname = ""
		} else {
			text = ""
		}
		add(h, []byte(text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
