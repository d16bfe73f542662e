// Package scenario drives the built binaries as users do: with our own client
// and with the stock docker client, on a real Debian root file system.
package scenario

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

const (
	debian  = "debian-nginx:test"
	busybox = "busybox:test"
)

// start starts a daemon that has the busybox image.
func start(t *testing.T, flags ...string) *lab.Daemon {
	t.Helper()
	d := lab.Start(t, flags...)
	d.Import(busyboxTar(t), busybox)
	return d
}

// busyboxTar makes a root file system of a static busybox and its links.
func busyboxTar(t *testing.T) string {
	t.Helper()
	binary, err := os.ReadFile("/usr/bin/busybox")
	if err != nil {
		t.Fatalf("%v (install busybox-static)", err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "etc", "root", "tmp", "var"} {
		add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:\napp:x:1000:\n"))
	add(tar.Header{Name: "etc/noexec", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("#!/bin/sh\n"))
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, binary)
	for _, name := range strings.Fields("sh true false sleep cat ls echo id env ps mount hostname grep seq yes sha256sum head wc kill stty touch ip nc httpd dd tr trap chmod mkdir ln readlink mknod") {
		add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "busybox.tar")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
