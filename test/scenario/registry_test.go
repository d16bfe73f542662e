package scenario

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/hostile"
	"github.com/sampan-containers/sampan/test/lab"
)

const (
	plainRegistry = "127.0.0.1:5000"
	// The TLS registry has an address that is not insecure by itself.
	tlsAddress  = "192.0.2.1"
	tlsRegistry = tlsAddress + ":5443"
	user        = "shipper"
	password    = "p:ss wörd"
	// passwordHash is bcrypt of it, as htpasswd -B writes it.
	passwordHash = "$2y$04$Dfz25pS9gTv4UfX8VeFPqOhsdZdVSCa9BXJ.ay8k1X5GnwzmeTSGq"
)

// serveRegistry starts Debian's docker-registry.
func serveRegistry(t *testing.T, address, extra string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp:\n  addr: %s\n%s", dir, address, extra)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/docker-registry", "serve", config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (install docker-registry)", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	lab.Eventually(t, 10*time.Second, "docker-registry answers", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// authority makes a certificate for the TLS registry, which is its own authority.
func authority(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(tlsAddress)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// layered makes a layout with an image of two layers with umoci.
func layered(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := filepath.Join(dir, "layout")
	for _, argv := range [][]string{
		{"umoci", "init", "--layout", at}, {"umoci", "new", "--image", at + ":web"},
		{"umoci", "insert", "--image", at + ":web", "/usr/bin/busybox", "/bin/sh"},
		{"umoci", "insert", "--image", at + ":web", "/etc/services", "/etc/services"},
		{"umoci", "config", "--image", at + ":web", "--config.cmd", "/bin/sh"},
	} {
		lab.Run(t, nil, argv...).Must(t)
	}
	return at
}

// recompress makes the layers of a layout zstd.
func recompress(t *testing.T, layout string) {
	t.Helper()
	read := func(name string, v any) []byte {
		raw, err := os.ReadFile(filepath.Join(layout, name))
		if err == nil && v != nil {
			err = json.Unmarshal(raw, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	write := func(raw []byte, d *ocispec.Descriptor) {
		d.Digest, d.Size = digest.FromBytes(raw), int64(len(raw))
		if err := os.WriteFile(filepath.Join(layout, "blobs/sha256", d.Digest.Encoded()), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var index ocispec.Index
	var manifest ocispec.Manifest
	read("index.json", &index)
	read("blobs/sha256/"+index.Manifests[0].Digest.Encoded(), &manifest)
	for i := range manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(read("blobs/sha256/"+manifest.Layers[i].Digest.Encoded(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		write(hostile.Zstd(t, plain).Blob, &manifest.Layers[i])
		manifest.Layers[i].MediaType = ocispec.MediaTypeImageLayerZstd
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	write(raw, &index.Manifests[0])
	if raw, err = json.Marshal(index); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(layout, "index.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// digestOf asks a registry by skopeo.
func digestOf(t *testing.T, name string) string {
	t.Helper()
	var out struct{ Digest string }
	if err := json.Unmarshal([]byte(lab.Run(t, nil, "skopeo", "inspect", "--tls-verify=false", "docker://"+name).Must(t)), &out); err != nil {
		t.Fatal(err)
	}
	return out.Digest
}

// TestPullAndPushKeepDigests: what came goes as it came, in every form, and the
// others can read it.
func TestPullAndPushKeepDigests(t *testing.T) {
	serveRegistry(t, plainRegistry, "")
	d := start(t)
	for form, flags := range map[string][]string{
		"oci-gzip": nil, "docker": {"--format", "v2s2"}, "oci-zstd": nil,
	} {
		t.Run(form, func(t *testing.T) {
			name, copied := plainRegistry+"/from/"+form+":1", plainRegistry+"/to/"+form+":2"
			layout := layered(t)
			if form == "oci-zstd" {
				recompress(t, layout)
			}
			lab.Run(t, nil, append(append([]string{"skopeo", "copy", "-q", "--dest-tls-verify=false"}, flags...), "oci:"+layout+":web", "docker://"+name)...).Must(t)
			if raw := lab.Run(t, nil, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+name).Must(t); strings.Contains(raw, "tar+zstd") != (form == "oci-zstd") {
				t.Fatalf("not what was wanted: %s", raw)
			}
			want := digestOf(t, name)
			if out := d.Docker("pull", name).Must(t); !strings.Contains(out, "Digest: "+want) || !strings.Contains(out, "Status: Downloaded newer image for "+name) || !strings.Contains(out, ": Pull complete") {
				t.Errorf("docker pull:\n%s", out)
			}
			if out := d.Sampan("pull", name).Must(t); !strings.Contains(out, "Status: Image is up to date for "+name) {
				t.Errorf("second pull:\n%s", out)
			}
			if out := d.Sampan("run", "--rm", "--network", "none", name, "/bin/sh", "-c", "echo hello").Must(t); out != "hello" {
				t.Errorf("run: %q", out)
			}
			d.Sampan("tag", name, copied).Must(t)
			if out := d.Docker("push", copied).Must(t); !strings.Contains(out, "2: digest: "+want+" size: ") {
				t.Errorf("docker push:\n%s", out)
			}
			if got := digestOf(t, copied); got != want {
				t.Errorf("pulled %s and pushed %s", want, got)
			}
			if form != "oci-zstd" { // Debian's podman does not read zstd in every version
				store, err := os.MkdirTemp("", "pod") // podman wants short paths
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll(store) })
				podman := []string{"podman", "--root", store + "/root", "--runroot", store + "/run", "--storage-driver", "vfs"}
				lab.Run(t, nil, append(podman, "pull", "-q", "--tls-verify=false", copied)...).Must(t)
				lab.Run(t, nil, append(podman, "rmi", "-af")...).Must(t)
			}
			d.Sampan("rmi", name, copied).Must(t) // the next form brings its own layers
		})
	}
	t.Run("made here", func(t *testing.T) {
		name := plainRegistry + "/made/box:1"
		d.Sampan("tag", busybox, name).Must(t)
		d.Sampan("push", "-q", name).Must(t)
		id := d.Sampan("image", "inspect", "-f", "{{.Id}}", name).Must(t)
		if raw := lab.Run(t, nil, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+name).Must(t); !strings.Contains(raw, id) {
			t.Errorf("%s was pushed as another image: %s", id, raw)
		}
		d.Sampan("rmi", name).Must(t)
		if out := d.Sampan("run", "--rm", "--network", "none", "--pull", "always", name, "echo", "back").Must(t); out != "back" {
			t.Errorf("run of what was pushed: %q", out)
		}
		if r := d.Sampan("run", "--rm", "--pull", "never", plainRegistry+"/made/other:1", "true"); r.Code != 125 || !strings.Contains(r.Err, "No such image") {
			t.Errorf("--pull never: %d %s", r.Code, r.Err)
		}
	})
	t.Run("run pulls what is missing", func(t *testing.T) {
		name := plainRegistry + "/to/docker:2"
		r := d.Sampan("run", "--rm", "--network", "none", name, "/bin/sh", "-c", "echo pulled")
		if r.Must(t) != "pulled" || !strings.Contains(r.Err, "Unable to find image") {
			t.Errorf("run: %q %q", r.Out, r.Err)
		}
	})
	t.Run("all tags", func(t *testing.T) {
		for _, tag := range []string{"a", "b"} {
			d.Sampan("tag", busybox, plainRegistry+"/many:"+tag).Must(t)
		}
		d.Sampan("push", "-a", plainRegistry+"/many").Must(t)
		d.Sampan("rmi", plainRegistry+"/many:a", plainRegistry+"/many:b").Must(t)
		d.Docker("pull", "-a", plainRegistry+"/many").Must(t)
		if out := d.Sampan("images", "-q", plainRegistry+"/many").Must(t); strings.Count(out, "\n") != 1 {
			t.Errorf("tags: %q", out)
		}
	})
	t.Run("index", func(t *testing.T) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		one, other, list := plainRegistry+"/many:a", plainRegistry+"/made/box:1", plainRegistry+"/multi:1"
		d.Sampan("manifest", "create", list, one, other).Must(t)
		if r := d.Sampan("manifest", "create", list, one); r.Code == 0 || !strings.Contains(r.Err, "--amend") {
			t.Errorf("create again: %d %s", r.Code, r.Err)
		}
		d.Sampan("manifest", "annotate", "--arch", "arm64", "--variant", "v8", list, other).Must(t)
		want := d.Sampan("manifest", "push", "--purge", list).Must(t)
		if got := digestOf(t, list); got != want {
			t.Errorf("pushed %s, the registry has %s", want, got)
		}
		// This registry knows no referrers: the tag that stands for them does.
		if r := d.Sampan("manifest", "referrers", one); r.Code != 0 || r.Out != "DIGEST    ARTIFACT TYPE   SIZE      ANNOTATIONS\n" {
			t.Errorf("of nothing: %d %q %s", r.Code, r.Out, r.Err)
		}
		refers := plainRegistry + "/many:" + strings.Replace(digestOf(t, one), ":", "-", 1)
		d.Sampan("manifest", "create", refers, other).Must(t)
		d.Sampan("manifest", "push", "--purge", refers).Must(t)
		if out := d.Sampan("manifest", "referrers", "-q", "--insecure", one).Must(t); out != digestOf(t, other) {
			t.Errorf("referrers: %q", out)
		}
		if out := d.Sampan("manifest", "referrers", "--artifact-type", "none", "--format", "{{.Digest}}", one).Must(t); out != "" {
			t.Errorf("referrers of no type: %q", out)
		}
		// Another repository's image was taken over: the stock client reads it there.
		if out := lab.Run(t, nil, "/usr/bin/docker", "manifest", "inspect", "--insecure", "-v", list).Must(t); !strings.Contains(out, `"arm64"`) || !strings.Contains(out, `"SchemaV2Manifest"`) {
			t.Errorf("docker manifest inspect:\n%s", out)
		}
		if out := d.Docker("pull", "--platform", "linux/arm64", list).Must(t); !strings.Contains(out, "Digest: "+want) {
			t.Errorf("pull of the index:\n%s", out)
		}
	})
	t.Run("search", func(t *testing.T) {
		if out := d.Docker("search", plainRegistry+"/many").Must(t); !strings.Contains(out, plainRegistry+"/many") {
			t.Errorf("docker search:\n%s", out)
		}
	})
	t.Run("not there", func(t *testing.T) {
		for _, run := range []func(...string) lab.Result{d.Sampan, d.Docker} {
			if r := run("pull", plainRegistry+"/to/docker:none"); r.Code == 0 || !strings.Contains(r.Err, "manifest for "+plainRegistry+"/to/docker:none not found: manifest unknown") {
				t.Errorf("%d %s", r.Code, r.Err)
			}
		}
	})
}

// TestLoginOverTLS: both clients share a login, and nothing works without one.
func TestLoginOverTLS(t *testing.T) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	address, err := netlink.ParseAddr(tlsAddress + "/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(lo, address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.AddrDel(lo, address) })
	cert, key := authority(t)
	users := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(users, []byte(user+":"+passwordHash+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	serveRegistry(t, tlsRegistry, fmt.Sprintf("  tls: {certificate: %s, key: %s}\nauth: {htpasswd: {realm: test, path: %s}}\n", cert, key, users))
	configuration := t.TempDir()
	t.Setenv("DOCKER_CONFIG", configuration)
	d := start(t)
	login := func(client string, secret string) lab.Result {
		argv := []string{lab.Bin(t, "sampan")}
		if client == "docker" {
			argv = []string{"/usr/bin/docker", "-H", "unix:///run/sampan/sampan.sock"}
		}
		return lab.Run(t, []byte(secret), append(argv, "login", "-u", user, "--password-stdin", tlsRegistry)...)
	}

	if r := login("sampan", password); r.Code == 0 || !strings.Contains(r.Err, "certs.d/"+tlsRegistry) {
		t.Errorf("without its authority: %d %s", r.Code, r.Err)
	}
	trust(t, cert)
	for _, client := range []string{"sampan", "docker"} {
		if r := login(client, "wrong"); r.Code == 0 || !strings.Contains(r.Err, "unauthorized") && !strings.Contains(r.Err, "incorrect username or password") {
			t.Errorf("%s login with a wrong password: %d %s", client, r.Code, r.Err)
		}
	}
	name := tlsRegistry + "/team/box:1"
	d.Sampan("tag", busybox, name).Must(t)
	if r := d.Sampan("push", name); r.Code == 0 || !strings.Contains(r.Err, "no basic auth credentials") {
		t.Errorf("push without a login: %d %s", r.Code, r.Err)
	}
	if out := login("sampan", password+"\n").Must(t); !strings.Contains(out, "Login Succeeded") {
		t.Errorf("login: %s", out)
	}
	d.Docker("push", name).Must(t)
	d.Sampan("rmi", name).Must(t)
	d.Docker("pull", name).Must(t)
	if out := d.Sampan("logout", tlsRegistry).Must(t); !strings.Contains(out, "Removing login credentials for "+tlsRegistry) {
		t.Errorf("logout: %s", out)
	}
	d.Sampan("rmi", name).Must(t)
	for _, run := range []func(...string) lab.Result{d.Sampan, d.Docker} {
		if r := run("pull", name); r.Code == 0 || !strings.Contains(r.Err, "no basic auth credentials") {
			t.Errorf("pull after logout: %d %s", r.Code, r.Err)
		}
	}
	login("docker", password).Must(t)
	d.Sampan("pull", name).Must(t)
	t.Run("repair", func(t *testing.T) { repairs(t, d, name) })
	if log := d.Log(); strings.Contains(log, password) {
		t.Error("the password is in the daemon's log")
	}
}

// repairs damages all that the image has on disk: everything is fetched again with the
// login that the client has, and the image runs.
func repairs(t *testing.T, d *lab.Daemon, name string) {
	d.Sampan("rmi", "-f", busybox).Must(t) // it shares the layer, and came from no registry
	damage(t)
	blobs, err := filepath.Glob(lab.DataRoot + "/blobs/sha256/*")
	if err != nil || len(blobs) < 3 {
		t.Fatalf("%v, %v", blobs, err)
	}
	for _, blob := range blobs {
		if err := errors.Join(os.Chmod(blob, 0o600), os.WriteFile(blob, []byte("spoiled"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	d.Restart()
	nobody := t.TempDir()
	if r := d.Sampan("--config", nobody, "system", "check", "--repair"); r.Code != 1 || !strings.Contains(r.Err, "no basic auth credentials") {
		t.Errorf("a repair without the login: exit %d, %s%s", r.Code, r.Out, r.Err)
	}
	if out := d.Sampan("system", "check", "--images", "--repair").Must(t); strings.Count(out, "repaired: ") != len(blobs)+1 || !strings.Contains(out, "All images are whole") {
		t.Errorf("repair:\n%s", out)
	}
	if out := d.Sampan("run", "--rm", "--network", "none", name, "cat", "/etc/passwd").Must(t); !strings.HasPrefix(out, "root:") {
		t.Errorf("the repaired image printed %q", out)
	}
}

// trust puts the authority where the daemon looks, in this test's mount namespace.
func trust(t *testing.T, cert string) {
	t.Helper()
	const dir = "/etc/sampan"
	made := os.Mkdir(dir, 0o755) == nil
	if err := unix.Mount("lab", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		if made {
			_ = os.Remove(dir)
		}
	})
	at := filepath.Join(dir, "certs.d", tlsRegistry)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "ca.crt"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPullSurvivesAKill: the daemon is killed in the middle; the next pull goes on.
func TestPullSurvivesAKill(t *testing.T) {
	serveRegistry(t, plainRegistry, "")
	layout := layered(t)
	name := plainRegistry + "/web:1"
	lab.Run(t, nil, "skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+layout+":web", "docker://"+name).Must(t)
	d := start(t)
	for delay := time.Duration(0); delay < 30*time.Millisecond; delay += 5 * time.Millisecond {
		// Not our own client, which starts a daemon where none answers.
		cmd := exec.Command("/usr/bin/docker", "-H", "unix:///run/sampan/sampan.sock", "pull", "-q", name)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay)
		d.Kill()
		_ = cmd.Wait()
		d.Restart()
		if r := d.Sampan("image", "inspect", name); r.Code == 0 { // acknowledged or not: it is whole
			d.Sampan("run", "--rm", "--network", "none", name, "/bin/sh", "-c", "exit 0").Must(t)
			d.Sampan("rmi", name).Must(t)
		}
		d.Sampan("pull", "-q", name).Must(t)
		d.Sampan("run", "--rm", "--network", "none", name, "/bin/sh", "-c", "exit 0").Must(t)
		d.Sampan("rmi", name).Must(t)
	}
}
