package parity

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

const busybox = "busybox:test"

// pair is the two engines, each with the same image.
type pair struct {
	ours, theirs *engine
	used         map[int]bool    // rows of exceptions that excused something
	said         map[string]bool // differences that were reported
}

func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{theirs: startPeer(t), used: map[int]bool{}, said: map[string]bool{}}
	lab.Start(t)
	p.ours = newEngine(t, "sampand", "/run/sampan/sampan.sock")
	p.ours.root = lab.DataRoot
	rootfs := busyboxTar(t)
	p.both(t, func(e *engine) any { return e.docker(t, "import", rootfs, busybox).Must(t) })
	// dockerd's last container must go before dockerd does, also after a failure.
	t.Cleanup(func() {
		if ids := strings.Fields(p.theirs.docker(t, "ps", "-aq").Out); len(ids) > 0 {
			p.theirs.docker(t, append([]string{"rm", "-fv"}, ids...)...)
		}
	})
	return p
}

// both asks both engines at once.
func (p *pair) both(t *testing.T, ask func(*engine) any) (ours, theirs any) {
	t.Helper()
	var wg sync.WaitGroup
	var done [2]bool
	for i, e := range []*engine{p.ours, p.theirs} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			answer := ask(e)
			if done[i] = true; i == 0 {
				ours = answer
			} else {
				theirs = answer
			}
		}()
	}
	wg.Wait()
	if !done[0] || !done[1] { // ended by t.Fatal, which has said why
		t.FailNow()
	}
	return ours, theirs
}

// docker runs the same command of the stock client on both engines.
func (p *pair) docker(t *testing.T, args ...string) (ours, theirs lab.Result) {
	t.Helper()
	a, b := p.both(t, func(e *engine) any { return e.docker(t, args...) })
	return a.(lab.Result), b.(lab.Result)
}

// must runs a command that has to succeed on both.
func (p *pair) must(t *testing.T, args ...string) (ours, theirs string) {
	t.Helper()
	a, b := p.docker(t, args...)
	if a.Code != 0 || b.Code != 0 {
		t.Fatalf("docker %s:\n%s: exit %d %s\n%s: exit %d %s", strings.Join(args, " "), p.ours.name, a.Code, a.Err, p.theirs.name, b.Code, b.Err)
	}
	return a.Out, b.Out
}

// get asks both for the same path and compares the answers.
func (p *pair) get(t *testing.T, kind, path string) {
	t.Helper()
	ours, theirs := p.both(t, func(e *engine) any { return e.get(t, path) })
	p.compare(t, kind, path, ours, theirs)
}

// busyboxTar makes a root file system of a static busybox.
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
	for _, dir := range []string{"bin", "data", "etc", "root", "tmp", "var"} {
		add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:\napp:x:1000:\nextra:x:77:\n"))
	add(tar.Header{Name: "etc/noexec", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("#!/bin/sh\n"))
	add(tar.Header{Name: "etc/nointerpreter", Typeflag: tar.TypeReg, Mode: 0o755}, []byte("#!/absent\n"))
	add(tar.Header{Name: "etc/noformat", Typeflag: tar.TypeReg, Mode: 0o755}, []byte("text\n"))
	add(tar.Header{Name: "data/file", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("hello\n"))
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, binary)
	for _, name := range strings.Fields("sh true false sleep cat ls echo id env kill trap nslookup touch grep df cut head tail wc pwd hostname sort test mkdir rm chmod") {
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
