package parity

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/test/lab"
)

const builderRegistry = "127.0.0.1:5000"

// buildScript makes images with buildah in every form it has and pushes them; its
// store is the first argument, the registry the second. Nothing is run in them:
// crun refuses hybrid control groups.
const buildScript = `set -e
mount -t tmpfs lab /var/lib/containers # its cache of what registries have
store=$1 to=$2
b() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
one() { # name architecture format file
  c=$(b from scratch)
  b copy -q "$c" /usr/bin/busybox /bin/sh
  b config --cmd '["/bin/sh","-c","echo built"]' --os linux --arch "$2" --label "file=$4" "$c"
  b commit -q -f "$3" "$c" lower
  d=$(b from lower)
  b copy -q "$d" "$4" "$4"
  b commit -q -f "$3" "$d" "$1"
}
push() { b push -q --tls-verify=false "$@"; }
one oci amd64 oci /etc/services
one docker amd64 docker /etc/protocols
one arm arm64 oci /etc/hostname
push -f oci oci docker://$to/built/oci-gzip:1
push -f v2s2 docker docker://$to/built/docker-gzip:1
b manifest create many oci arm
b manifest push --tls-verify=false --all -f oci many docker://$to/built/index:1
b manifest push --tls-verify=false --all -f v2s2 many docker://$to/built/list:1
rm -rf /var/lib/containers/cache # else it takes the gzip form, which the registry has
push -f oci --compression-format zstd oci docker://$to/built/oci-zstd:1
b rm -a
b rmi -af`

// Images that buildah makes, and one of debootstrap, come from Debian's registry to
// us and go back to it from us, with the same digests; and then docker, podman and
// skopeo read what we pushed.
func TestImagesOfBuildersTravel(t *testing.T) {
	serveRegistry(t, builderRegistry)
	p := startPair(t)
	relay(t, builderRegistry)
	if err := os.MkdirAll("/var/lib/containers", 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := os.MkdirTemp("", "pod") // podman and buildah want short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(store) })
	lab.Run(t, nil, "unshare", "--mount", "sh", "-c", buildScript, "sh", store+"/buildah", builderRegistry).Must(t)
	for _, form := range []struct{ name, says, hidden string }{
		{"oci-gzip", "image.layer.v1.tar+gzip", "zstd"},
		{"oci-zstd", "image.layer.v1.tar+zstd", "+gzip"},
		{"docker-gzip", "docker.image.rootfs.diff.tar.gzip", "vnd.oci"},
	} {
		t.Run(form.name, func(t *testing.T) {
			from := builderRegistry + "/built/" + form.name + ":1"
			if raw := rawManifest(t, from); !strings.Contains(raw, form.says) || strings.Contains(raw, form.hidden) {
				t.Fatalf("buildah pushed something else: %s", raw)
			}
			throughOurs(t, p, store, from, builderRegistry+"/ours/"+form.name+":1", form.name != "oci-zstd", "built")
		})
	}
	for _, form := range []string{"index", "list"} {
		t.Run(form, func(t *testing.T) { indexThroughOurs(t, p, store, form) })
	}
	t.Run("debootstrap", func(t *testing.T) {
		name := builderRegistry + "/debian:1"
		p.ours.docker(t, "import", "-c", `CMD ["cat","/etc/debian_version"]`, "../../.cache/debian-nginx.tar", name).Must(t)
		p.ours.docker(t, "push", name).Must(t)
		p.ours.docker(t, "rmi", name).Must(t)
		throughOurs(t, p, store, name, builderRegistry+"/ours/debian:1", true, "12.")
	})
}

// throughOurs pulls an image, pushes it under another name and lets the others read
// that. docker 20.10 knows no zstd.
func throughOurs(t *testing.T, p *pair, store, from, to string, docker bool, prints string) {
	want := headDigest(t, from)
	if out := p.ours.docker(t, "pull", from).Must(t); !strings.Contains(out, "Digest: "+want) {
		t.Errorf("pull of %s said:\n%s", want, out)
	}
	if out := p.ours.docker(t, "run", "--rm", "--network", "none", from).Must(t); !strings.HasPrefix(out, prints) {
		t.Errorf("it printed %q", out)
	}
	p.ours.docker(t, "tag", from, to).Must(t)
	if out := p.ours.docker(t, "push", to).Must(t); !strings.Contains(out, "digest: "+want+" size: ") {
		t.Errorf("push of %s said:\n%s", want, out)
	}
	othersRead(t, p, store, to, want, docker, prints)
	p.ours.docker(t, "rmi", from, to).Must(t)
}

// othersRead compares what skopeo, podman and docker find under a name with want.
func othersRead(t *testing.T, p *pair, store, name, want string, docker bool, prints string) {
	t.Helper()
	if got := headDigest(t, name); got != want {
		t.Errorf("skopeo finds %s, want %s", got, want)
	}
	podman(t, store, "pull", "-q", "--tls-verify=false", name).Must(t)
	if got := podman(t, store, "inspect", "-f", "{{.Digest}}", name).Must(t); got != want {
		t.Errorf("podman pulled %s, want %s", got, want)
	}
	podman(t, store, "rmi", "-af").Must(t)
	if !docker {
		return
	}
	if out := p.theirs.docker(t, "pull", name).Must(t); !strings.Contains(out, "Digest: "+want) {
		t.Errorf("docker's pull of %s said:\n%s", want, out)
	}
	if out := p.theirs.docker(t, "run", "--rm", "--network", "none", name).Must(t); !strings.HasPrefix(out, prints) {
		t.Errorf("with docker it printed %q", out)
	}
	p.theirs.docker(t, "rmi", name).Must(t)
}

// indexThroughOurs pulls both images of an index, pushes each, and makes an index of
// them again.
func indexThroughOurs(t *testing.T, p *pair, store, form string) {
	from, to := builderRegistry+"/built/"+form+":1", builderRegistry+"/ours/"+form
	want := headDigest(t, from)
	var index ocispec.Index
	if err := json.Unmarshal([]byte(rawManifest(t, from)), &index); err != nil || len(index.Manifests) != 2 {
		t.Fatalf("not an index of two: %v, %v", index, err)
	}
	var parts []string
	for _, m := range index.Manifests {
		arch := m.Platform.Architecture
		if out := p.ours.docker(t, "pull", "--platform", "linux/"+arch, from).Must(t); !strings.Contains(out, "Digest: "+want) {
			t.Errorf("pull for %s said:\n%s", arch, out)
		}
		if got := p.ours.docker(t, "image", "inspect", "-f", "{{.Architecture}}", from).Must(t); got != arch {
			t.Errorf("pull for %s brought %s", arch, got)
		}
		part := to + ":" + arch
		p.ours.docker(t, "tag", from, part).Must(t)
		if out := p.ours.docker(t, "push", part).Must(t); !strings.Contains(out, "digest: "+m.Digest.String()+" size: ") {
			t.Errorf("%s was pushed as:\n%s", m.Digest, out)
		}
		parts = append(parts, part)
	}
	sampan := []string{lab.Bin(t, "sampan"), "--config", t.TempDir(), "manifest"}
	lab.Run(t, nil, append(append(sampan, "create", to+":1"), parts...)...).Must(t)
	pushed := lab.Run(t, nil, append(sampan, "push", to+":1")...).Must(t)
	var again ocispec.Index
	if err := json.Unmarshal([]byte(rawManifest(t, to+":1")), &again); err != nil || len(again.Manifests) != 2 {
		t.Fatalf("we pushed no index of two: %v, %v", again, err)
	}
	for i, m := range index.Manifests {
		if got := again.Manifests[i]; got.Digest != m.Digest || got.Size != m.Size || got.MediaType != m.MediaType || got.Platform.Architecture != m.Platform.Architecture {
			t.Errorf("entry %d is %v, was %v", i, got, m)
		}
	}
	if got := headDigest(t, to+":1"); got != pushed {
		t.Errorf("we said %s, the registry has %s", pushed, got)
	}
	// podman tells the digest of what it chose.
	podman(t, store, "pull", "-q", "--tls-verify=false", "--arch", "arm64", to+":1").Must(t)
	if got := podman(t, store, "inspect", "-f", "{{.Architecture}}", to+":1").Must(t); got != "arm64" {
		t.Errorf("podman pulled the image for %s", got)
	}
	podman(t, store, "rmi", "-af").Must(t)
	if out := p.theirs.docker(t, "pull", to+":1").Must(t); !strings.Contains(out, "Digest: "+pushed) {
		t.Errorf("docker's pull said:\n%s", out)
	}
	p.theirs.docker(t, "rmi", to+":1").Must(t)
	p.ours.docker(t, append([]string{"rmi", from}, parts...)...).Must(t)
}

func rawManifest(t *testing.T, name string) string {
	t.Helper()
	return lab.Run(t, nil, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+name).Must(t)
}

// headDigest is the digest of what a registry has under a name.
func headDigest(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest")
	if err := os.WriteFile(file, []byte(rawManifest(t, name)), 0o600); err != nil {
		t.Fatal(err)
	}
	return lab.Run(t, nil, "skopeo", "manifest-digest", file).Must(t)
}

// serveRegistry starts Debian's docker-registry.
func serveRegistry(t *testing.T, address string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %q}\n", dir, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (install docker-registry)", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lab.Eventually(t, 10*time.Second, "docker-registry answers", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
