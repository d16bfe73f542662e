package power

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/hostile"
)

const (
	dataRoot = "/var/lib/sampan"
	kept     = 2 // images of earlier boots that stay
	patience = 4 * time.Minute
)

// machine is the guest.
type machine struct {
	t        *testing.T
	registry *hostile.Registry
	busybox  []byte // of the base layer
	boot     string
	daemon   *exec.Cmd
	ended    chan error
}

// TestGuest runs as the second process of the virtual machine.
func TestGuest(t *testing.T) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(cmdline), "sampan.power=")
	if !ok {
		t.Skip("skipped: this is not the virtual machine of test/vm/power.sh, which make test-soak runs")
	}
	boot, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, registry: hostile.New(t, ""), busybox: busybox, boot: boot}
	m.start()
	m.verify()
	if boot == "last" {
		m.end()
		return
	}
	say("WORKING")
	m.work()
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (m *machine) start() {
	m.daemon = exec.Command("/bin/sampand", "--bridge", "none")
	m.daemon.Stdout, m.daemon.Stderr = os.Stdout, os.Stdout
	if err := m.daemon.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.daemon.Wait() }()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-ended:
			say("BAD the daemon does not start: %v", err)
			m.t.FailNow()
		default:
		}
		// Not by our client, which starts a daemon where none answers.
		if conn, err := net.Dial("unix", "/run/sampan/sampan.sock"); err == nil {
			conn.Close()
			m.ended = ended
			return
		}
	}
	say("BAD the daemon does not answer")
	m.t.FailNow()
}

// run is a command of our client; what it says is bounded by patience.
func (m *machine) run(stdin []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sampan", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("sampan %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), err
}

// must reports what fails: nothing here may.
func (m *machine) must(stdin []byte, args ...string) string {
	out, err := m.run(stdin, args...)
	if err != nil {
		say("BAD %v", err)
	}
	return out
}

// verify runs every image that has a name, and has every byte of the store read.
func (m *machine) verify() {
	m.must(nil, "rm", "-f", "--all")
	tags := strings.Fields(m.must(nil, "images", "--format", "{{.Repository}}:{{.Tag}}"))
	for _, tag := range tags {
		if strings.Contains(tag, "<none>") {
			say("BAD an image without a name: %s", tag)
			continue
		}
		if got := m.must(nil, "run", "--rm", "--network", "none", tag, "/bin/sh", "-c", "cat /id* && sha256sum -s -c /sums* && echo whole"); strings.HasSuffix(got, "whole") {
			say("HAVE %s", tag)
		} else {
			say("BAD %s printed %q", tag, got)
		}
	}
	if out := m.must(nil, "system", "check", "--images"); !strings.Contains(out, "All images are whole") {
		say("BAD check: %s", out)
	}
	m.compareUsage()
	for i, tag := range tags {
		if i >= kept || m.boot == "last" {
			m.remove(tag)
		}
	}
}

// compareUsage holds what `system df` says of images against what du sees.
func (m *machine) compareUsage() {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", "/run/sampan/sampan.sock")
	}}}
	resp, err := client.Get("http://sampan/v1.41/system/df")
	if err != nil {
		say("BAD df: %v", err)
		return
	}
	defer resp.Body.Close()
	var said struct{ LayersSize int64 }
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		say("BAD df: %v", err)
	}
	var has int64
	for _, dir := range []string{"layers/sha256", "blobs"} {
		err := filepath.WalkDir(filepath.Join(dataRoot, dir), func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil {
				has += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			say("BAD du: %v", err)
		}
	}
	const directories = 32 << 10 // of the stores themselves
	if diff := said.LayersSize - has; max(diff, -diff) > has/50+directories {
		say("BAD df says %d, du %d", said.LayersSize, has)
	} else {
		say("USAGE df %d, du %d", said.LayersSize, has)
	}
}

func (m *machine) remove(tag string) {
	say("GONE %s", tag)
	m.must(nil, "rmi", tag)
}

// work brings images and takes them away, until the power goes.
func (m *machine) work() {
	var there []string
	for i := 0; ; i++ {
		tag := fmt.Sprintf("%s.%d", m.boot, i)
		var name string
		switch rand.N(3) {
		case 0:
			name = m.pull(tag)
		case 1:
			name = m.load(tag)
		default:
			name = m.commit(tag, there)
		}
		if name == "" {
			continue
		}
		say("ACK %s", name)
		if there = append(there, name); len(there) > 3 {
			m.remove(there[0])
			there = there[1:]
		}
	}
}

func (m *machine) pull(tag string) string {
	img := m.registry.Add(m.t, tag, []hostile.Layer{hostile.Gzip(m.t, m.base()), hostile.Gzip(m.t, files("a"+tag)), hostile.Zstd(m.t, files("b"+tag))}, nil)
	name := m.registry.Host() + "/web:" + tag
	m.must(nil, "pull", "-q", name)
	m.registry.Lock() // or its memory runs full
	for _, l := range img.Layers[1:] {
		delete(m.registry.Blobs, l.Digest)
	}
	m.registry.Unlock()
	return name
}

// load loads an archive of Docker's form.
func (m *machine) load(tag string) string {
	layers := [][]byte{m.base(), files("c" + tag)}
	var ids, names []string
	for i, l := range layers {
		sum := sha256.Sum256(l)
		ids = append(ids, "sha256:"+hex.EncodeToString(sum[:]))
		names = append(names, fmt.Sprintf("%d.tar", i))
	}
	name := "loaded:" + tag
	config, _ := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "config": map[string]any{"Labels": map[string]string{"tag": tag}}, "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
	manifest, _ := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": names}})
	content := map[string][]byte{"config.json": config, "manifest.json": manifest}
	for i, l := range layers {
		content[names[i]] = l
	}
	m.must(hostile.Tar(m.t, content, append(names, "config.json", "manifest.json")...), "load", "-q")
	return name
}

// commit makes an image of a container that has changed.
func (m *machine) commit(tag string, from []string) string {
	if len(from) == 0 {
		return ""
	}
	container, name := "c"+strings.ReplaceAll(tag, ".", "-"), "committed:"+tag
	m.must(nil, "create", "--name", container, "--network", "none", from[len(from)-1], "/bin/sh")
	m.must(files("d"+tag), "cp", "-", container+":/")
	m.must(nil, "commit", container, name)
	m.must(nil, "rm", container)
	return name
}

// base is the layer that all images share.
func (m *machine) base() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add(w, "bin/busybox", 0o755, m.busybox)
	for _, name := range []string{"sh", "cat", "sha256sum", "echo"} {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox"})
	}
	_ = w.Close()
	return b.Bytes()
}

// files is a tar of random files with their sums.
func files(id string) []byte {
	var b, sums bytes.Buffer
	w := tar.NewWriter(&b)
	source := rand.NewChaCha8(sha256.Sum256([]byte(id)))
	for i := range 40 {
		text := make([]byte, 1+i*i*20)
		_, _ = source.Read(text)
		name := fmt.Sprintf("data/%s/%d", id, i)
		sum := sha256.Sum256(text)
		fmt.Fprintf(&sums, "%x  /%s\n", sum, name)
		add(w, name, 0o644, text)
	}
	add(w, "id"+id, 0o644, []byte(id+"\n"))
	add(w, "sums"+id, 0o644, sums.Bytes())
	_ = w.Close()
	return b.Bytes()
}

func add(w *tar.Writer, name string, mode int64, text []byte) {
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(text))})
	_, _ = w.Write(text)
}

// end looks whether all that the cuts have left is gone: the names are.
func (m *machine) end() {
	m.must(nil, "image", "prune", "-af")
	time.Sleep(time.Second) // files go after the answer
	if err := m.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	<-m.ended
	clean := true
	err := filepath.WalkDir(dataRoot, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dataRoot, path)
		top, below, _ := strings.Cut(rel, "/")
		switch {
		case err != nil:
			return err
		case top == "lost+found" || top == "base" || !d.IsDir() && below == "": // the daemon's own
		case !d.IsDir() || strings.Count(below, "/") > 0:
			clean = false
			say("BAD left over: %s", rel)
		}
		return nil
	})
	if err != nil {
		say("BAD %v", err)
	}
	if clean {
		say("CLEAN")
	}
}
