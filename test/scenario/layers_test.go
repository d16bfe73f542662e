package scenario

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// deepLayers is how many layers Docker's overlay2 takes.
const deepLayers = 128

// An image of 128 layers starts, on kernels whose overlay takes layers one by one and on
// those before 6.7, which want them in one option (make test-vm).
func TestImageOfManyLayers(t *testing.T) {
	d := start(t)
	d.Sampan("load", "-q", "-i", deepImage(t)).Must(t)
	out := d.Sampan("run", "--rm", "deep:128", "sh", "-c", "ls /l | wc -l; cat /top; echo; echo new > /l/new && cat /l/new").Must(t)
	if want := fmt.Sprintf("%d\n%d\nnew", deepLayers-1, deepLayers-1); out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	out = d.Sampan("run", "--rm", "--read-only", "deep:128", "sh", "-c", "ls /l | wc -l; echo x > /l/y || echo refused").Must(t)
	if want := fmt.Sprintf("%d\nrefused", deepLayers-1); out != want {
		t.Errorf("read-only: got %q, want %q", out, want)
	}
}

// deepImage is an archive as docker save writes it: busybox, and a layer for each file
// that comes on top.
func deepImage(t *testing.T) string {
	t.Helper()
	var all bytes.Buffer
	w := tar.NewWriter(&all)
	add := func(name string, data []byte) {
		t.Helper()
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	var diffIDs, names []string
	layer := func(data []byte) {
		name := fmt.Sprintf("%d.tar", len(names))
		add(name, data)
		names = append(names, name)
		diffIDs = append(diffIDs, fmt.Sprintf("sha256:%x", sha256.Sum256(data)))
	}
	base, err := os.ReadFile(busyboxTar(t))
	if err != nil {
		t.Fatal(err)
	}
	layer(base)
	for i := 1; i < deepLayers; i++ {
		var one bytes.Buffer
		lw := tar.NewWriter(&one)
		for name, text := range map[string]string{fmt.Sprintf("l/%d", i): "", "top": fmt.Sprint(i)} {
			if err := lw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
				t.Fatal(err)
			}
			if _, err := lw.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := lw.Close(); err != nil {
			t.Fatal(err)
		}
		layer(one.Bytes())
	}
	encode := func(v any) []byte {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	add("config.json", encode(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}))
	add("manifest.json", encode([]map[string]any{{"Config": "config.json", "RepoTags": []string{"deep:128"}, "Layers": names}}))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "deep.tar")
	if err := os.WriteFile(path, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
