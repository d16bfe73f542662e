package parity

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

// compareArchives carries images between the two engines, podman and skopeo, as
// files. An image that travels keeps its ID, which is the digest of its
// configuration and thereby of all its layers.
func compareArchives(t *testing.T, p *pair) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name+".tar") }
	build := func(t *testing.T, e *engine, tag string) string {
		t.Helper()
		e.docker(t, "run", "--name", "layers", busybox, "sh", "-c", "echo "+tag+" >/etc/second; touch /tmp/hard; ln /tmp/hard /tmp/link; rm /etc/noexec; chmod 1777 /tmp")
		e.docker(t, "commit", "-a", "a tester", "-c", "CMD [\"echo\",\"hello\"]", "layers", tag).Must(t)
		e.docker(t, "rm", "layers").Must(t)
		return id(t, e, tag)
	}
	ours, theirs := build(t, p.ours, "ours:1"), build(t, p.theirs, "theirs:1")

	t.Run("ours to docker", func(t *testing.T) {
		p.ours.docker(t, "save", "-o", file("ours"), "ours:1").Must(t)
		p.theirs.docker(t, "load", "-i", file("ours")).Must(t)
		if got := id(t, p.theirs, "ours:1"); got != ours {
			t.Errorf("the ID became %s, was %s", got, ours)
		}
		if out := p.theirs.docker(t, "run", "--rm", "ours:1").Must(t); out != "hello" {
			t.Errorf("it printed %q", out)
		}
	})
	t.Run("docker to ours", func(t *testing.T) {
		p.theirs.docker(t, "save", "-o", file("theirs"), "theirs:1", busybox).Must(t)
		p.ours.docker(t, "load", "-i", file("theirs")).Must(t)
		if got := id(t, p.ours, "theirs:1"); got != theirs {
			t.Errorf("the ID became %s, was %s", got, theirs)
		}
		if out := p.ours.docker(t, "run", "--rm", "theirs:1", "cat", "/etc/second").Must(t); out != "theirs:1" {
			t.Errorf("it printed %q", out)
		}
		// There and back again.
		p.ours.docker(t, "save", "-o", file("back"), "theirs:1").Must(t)
		p.theirs.docker(t, "rmi", "theirs:1").Must(t)
		p.theirs.docker(t, "load", "-i", file("back")).Must(t)
		if got := id(t, p.theirs, "theirs:1"); got != theirs {
			t.Errorf("after the way back the ID is %s, was %s", got, theirs)
		}
	})
	t.Run("podman", func(t *testing.T) { carryPodman(t, p, file, ours) })
	t.Run("layouts", func(t *testing.T) { carryLayouts(t, p, dir) })
}

// podman with its own store; the machine's is not touched.
func podman(t *testing.T, root string, args ...string) lab.Result {
	t.Helper()
	return lab.Run(t, nil, append([]string{"podman", "--root", root + "/root", "--runroot", root + "/run", "--storage-driver", "vfs"}, args...)...)
}

func carryPodman(t *testing.T, p *pair, file func(string) string, want string) {
	store := t.TempDir()
	podman(t, store, "load", "-i", file("ours")).Must(t)
	t.Cleanup(func() { podman(t, store, "rmi", "-fa") })
	got := podman(t, store, "inspect", "-f", "{{.Id}}", "docker.io/library/ours:1").Must(t)
	if "sha256:"+got != want {
		t.Errorf("podman has ID %s, was %s", got, want)
	}
	for _, format := range []string{"docker-archive", "oci-archive"} {
		t.Run(format, func(t *testing.T) {
			name := file("podman-" + format)
			podman(t, store, "save", "--format", format, "-o", name, "docker.io/library/ours:1").Must(t)
			p.ours.docker(t, "rmi", "-f", "ours:1").Must(t)
			out := p.ours.docker(t, "load", "-i", name).Must(t)
			// podman writes layers of an OCI archive anew, compressed, and its own config.
			if format == "docker-archive" {
				if got := id(t, p.ours, "ours:1"); got != want {
					t.Errorf("the ID became %s, was %s", got, want)
				}
			} else if !strings.Contains(out, "ours:1") {
				t.Errorf("load said %q", out)
			}
			if out := p.ours.docker(t, "run", "--rm", "ours:1").Must(t); out != "hello" {
				t.Errorf("it printed %q", out)
			}
		})
	}
	p.ours.docker(t, "rmi", "-f", "ours:1").Must(t)
	p.ours.docker(t, "load", "-i", file("ours")).Must(t)
}

// carryLayouts takes an OCI layout with gzip layers in and out: the manifest, and so
// the compressed layers, stay the same.
func carryLayouts(t *testing.T, p *pair, dir string) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skipped: skopeo is not installed")
	}
	layout := filepath.Join(dir, "layout")
	lab.Run(t, nil, "skopeo", "copy", "-q", "docker-archive:"+filepath.Join(dir, "ours.tar"), "oci:"+layout+":docker.io/library/carried:1", "--dest-compress").Must(t)
	tar := filepath.Join(dir, "carried.tar")
	lab.Run(t, nil, "tar", "-C", layout, "-cf", tar, ".").Must(t)
	p.ours.docker(t, "load", "-i", tar).Must(t)
	back := filepath.Join(dir, "carried-back.tar")
	p.ours.docker(t, "save", "-o", back, "carried:1").Must(t)
	digest := func(archive string) []string {
		raw := lab.Run(t, nil, "skopeo", "inspect", "--raw", archive).Must(t)
		var m struct {
			Config struct{ Digest string }
			Layers []struct{ Digest string }
		}
		if err := json.Unmarshal([]byte(raw), &m); err != nil {
			t.Fatal(err)
		}
		out := []string{m.Config.Digest}
		for _, l := range m.Layers {
			out = append(out, l.Digest)
		}
		return out
	}
	in, out := digest("oci:"+layout), digest("oci-archive:"+back)
	if !slices.Equal(in, out) {
		t.Errorf("it came as %v and left as %v", in, out)
	}
	p.theirs.docker(t, "load", "-i", back).Must(t)
	if out := p.theirs.docker(t, "run", "--rm", "carried:1").Must(t); out != "hello" {
		t.Errorf("it printed %q", out)
	}
}

func id(t *testing.T, e *engine, name string) string {
	t.Helper()
	return e.docker(t, "image", "inspect", "-f", "{{.Id}}", name).Must(t)
}
