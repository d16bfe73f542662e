//go:build failpoints

package failpoint

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/failpoint/steps"
	"github.com/sampan-containers/sampan/test/hostile"
	"github.com/sampan-containers/sampan/test/lab"
)

// The same with whole processes: sampand dies at a step while a user's command talks
// to it, a new one starts, and what its user had is there, whole, and the command can
// be given again.

// errand is a command of a user. Every one may be repeated.
type errand struct {
	name string
	argv []string
	flag string   // of the daemon
	gone []string // names that may be gone after it
	// first are the beginnings of the steps that it is killed at without full counts.
	first []string
}

var errands = []errand{
	{name: "import", argv: []string{"import", "layer.tar", "imported:1"}, first: []string{"layer.", "image.add."}},
	{name: "load", argv: []string{"load", "-q", "-i", "loaded.tar"}, first: []string{"image.load.", "blob.publish."}},
	{name: "commit", argv: []string{"commit", "writer", "committed:1"}, first: []string{"blob.put."}},
	{name: "tag", argv: []string{"tag", "old:1", "other:1"}},
	{name: "save", argv: []string{"save", "-o", "saved.tar", "old:1", "archived:1"}},
	{name: "rmi", argv: []string{"rmi", "-f", "archived:1"}, gone: []string{"archived:1"}, first: []string{"image.delete."}},
	{name: "pull", argv: []string{"pull", "-q", "--platform", "linux/amd64", "REGISTRY/web:1"}, first: []string{"image.pull.", "image.arrive."}},
	{name: "pull, blobs dropped", argv: []string{"pull", "-q", "--platform", "linux/amd64", "REGISTRY/web:1"}, flag: "--keep-blobs=false", first: []string{"image.pull."}},
	{name: "push", argv: []string{"push", "-q", "REGISTRY/made:made"}, first: []string{"image.push."}},
	{name: "push, blobs dropped", argv: []string{"push", "-q", "EMPTY/copied:copied"}, flag: "--keep-blobs=false", first: []string{"image.push."}},
	{name: "prune", argv: []string{"image", "prune", "-a", "-f"}, gone: []string{"archived:1", "other:1", "REGISTRY/made:made", "EMPTY/copied:copied", "REGISTRY/lean:lean"}},
}

// kept are the names that each errand begins with.
var kept = []string{"old:1", "other:1", "archived:1", "REGISTRY/made:made", "EMPTY/copied:copied", "REGISTRY/lean:lean"}

// host is where the daemons of one test live.
type host struct {
	t      *testing.T
	dir    string // with the binaries, and a data root that each errand begins with
	server *hostile.Registry
	empty  *hostile.Registry // what is pushed there is forgotten after each errand
}

// TestDaemonKilledAtEveryStep tries each step: with full counts at each pass of each
// errand, in `make test` at its first pass, by one errand.
func TestDaemonKilledAtEveryStep(t *testing.T) {
	h := newHost(t)
	full := os.Getenv(counts.Env) == "full"
	tried := map[string]bool{}
	kills := 0
	for range counts.Of("failpoint.daemon") {
		for _, e := range errands {
			for _, step := range steps.In(t, folders...) {
				begins := func(first string) bool { return strings.HasPrefix(step, first) }
				if !full && !slices.ContainsFunc(e.first, begins) {
					continue // another errand tries it
				}
				for pass := 1; full || pass == 1; pass++ {
					died := false
					t.Run(fmt.Sprintf("%s/%s:%d", e.name, step, pass), func(t *testing.T) { died = h.killed(t, e, step, pass) })
					if !died {
						break
					}
					tried[step] = true
					kills++
				}
			}
		}
	}
	for _, step := range steps.In(t, folders...) {
		if !tried[step] {
			t.Errorf("no errand reaches the step %s", step)
		}
	}
	t.Logf("%d kills of the daemon at %d steps", kills, len(tried))
}

// newHost builds the daemon with failpoints and prepares what each errand begins with.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), server: hostile.New(t, ""), empty: hostile.New(t, "")}
	build := exec.Command("go", "build", "-tags", "failpoints", "-o", h.path("sampand"), "../../cmd/sampand")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, name := range []string{"sampan", "sampan-runtime", "sampan-box"} {
		if err := os.Symlink(lab.Bin(t, name), h.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	h.server.Add(t, "1", []hostile.Layer{hostile.Gzip(t, layerTar("pulled-lower")), hostile.Gzip(t, layerTar("pulled-upper"))}, nil)
	h.server.Add(t, "lean", []hostile.Layer{hostile.Gzip(t, layerTar("lean-lower")), hostile.Gzip(t, layerTar("lean-upper"))}, nil)
	for name, raw := range map[string][]byte{"layer.tar": layerTar("imported"), "old.tar": layerTar("old"), "other.tar": layerTar("other"), "archived.tar": layout("archived"), "loaded.tar": layout("loaded"), "written": []byte("by a container")} {
		if err := os.WriteFile(h.path(name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := h.start(t, h.path("begin"), "", "--keep-blobs=false")
	for _, argv := range [][]string{
		{"import", "old.tar", "old:1"}, {"import", "other.tar", "other:1"}, {"load", "-q", "-i", "archived.tar"},
		{"create", "--name", "writer", "old:1", "/none"}, {"cp", "written", "writer:/written"},
		{"tag", "old:1", "REGISTRY/made:made"},
		{"pull", "-q", "--platform", "linux/amd64", "REGISTRY/lean:lean"}, {"tag", "REGISTRY/lean:lean", "EMPTY/copied:copied"},
	} {
		if out, err := d.sampan(argv...); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	d.stop(t)
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// killed gives one errand to a daemon that dies at its pass of a step, and looks at
// what is left. It tells whether the daemon died.
func (h *host) killed(t *testing.T, e errand, step string, pass int) bool {
	root := filepath.Join(t.TempDir(), "data")
	if out, err := exec.Command("cp", "-a", h.path("begin"), root).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	h.empty.Lock()
	clear(h.empty.Blobs)
	clear(h.empty.Manifests)
	h.empty.Unlock()
	d := h.start(t, root, fmt.Sprintf("%s:%d", step, pass), e.flag)
	out, err := d.sampan(e.argv...)
	if !d.died() {
		if err != nil {
			t.Errorf("the errand failed: %v\n%s", err, out)
		}
		d.stop(t)
		return false
	}
	if err == nil && step != "image.delete.blob" && step != "image.delete.layer" && !strings.HasSuffix(step, "recorded") {
		t.Errorf("the daemon died at %s and the client says that all is well: %s", step, out)
	}
	acknowledged := err == nil
	d = h.start(t, root, "", e.flag)
	defer d.stop(t)
	for _, name := range kept {
		if _, err := d.sampan("image", "inspect", name); err != nil && !slices.Contains(e.gone, name) {
			t.Errorf("after the kill %s is lost", name)
		}
	}
	d.whole(t, "after the kill")
	if out, err := d.sampan(e.argv...); err != nil && !(acknowledged && e.name == "rmi") {
		t.Errorf("the retry: %v\n%s", err, out)
	}
	d.whole(t, "after the retry")
	if out, err := d.sampan("rm", "-f", "writer"); err != nil {
		t.Errorf("rm: %v\n%s", err, out)
	}
	if out, err := d.sampan("image", "prune", "-a", "-f"); err != nil {
		t.Errorf("prune: %v\n%s", err, out)
	}
	d.nothingLeft(t)
	return true
}

// process is a sampand of this test.
type process struct {
	h      *host
	cmd    *exec.Cmd
	ended  chan struct{}
	socket string
	root   string
	log    *bytes.Buffer
}

func (h *host) start(t *testing.T, root, step string, flags ...string) *process {
	t.Helper()
	exe := t.TempDir()
	p := &process{h: h, socket: filepath.Join(exe, "s"), root: root, ended: make(chan struct{}), log: &bytes.Buffer{}}
	argv := []string{"--data-root", root, "--exec-root", filepath.Join(exe, "x"), "--pidfile", filepath.Join(exe, "pid"), "-H", "unix://" + p.socket, "--bridge", "none"}
	p.cmd = exec.Command(h.path("sampand"), append(argv, slices.DeleteFunc(flags, func(f string) bool { return f == "" })...)...)
	p.cmd.Env = append(os.Environ(), failpoint.Env+"="+step)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	for deadline := time.Now().Add(lab.Scale(20 * time.Second)); ; time.Sleep(2 * time.Millisecond) {
		if conn, err := net.Dial("unix", p.socket); err == nil {
			conn.Close()
			return p
		}
		select {
		case <-p.ended:
			t.Fatalf("sampand ended before it was ready:\n%s", p.log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("sampand is not ready")
		}
	}
}

// sampan gives the daemon a command, with files of the test's folder.
func (p *process) sampan(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(p.h.t.Context(), time.Minute)
	defer cancel()
	all := []string{"-H", "unix://" + p.socket}
	for _, arg := range argv {
		all = append(all, strings.NewReplacer("REGISTRY", p.h.server.Host(), "EMPTY", p.h.empty.Host()).Replace(arg))
	}
	cmd := exec.CommandContext(ctx, p.h.path("sampan"), all...)
	cmd.Dir = p.h.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// died tells whether the daemon has killed itself, which it may do a moment after it
// has answered.
func (p *process) died() bool {
	if out, err := p.sampan("version"); err != nil {
		<-p.ended
		return true
	} else if out == "" {
		return false
	}
	select {
	case <-p.ended:
		return true
	case <-time.After(20 * time.Millisecond):
		return false
	}
}

// stop ends the daemon as a host does, with what it does in the background.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(lab.Scale(20 * time.Second)):
		t.Errorf("sampand does not end:\n%s", p.log)
	}
	if text := p.log.String(); strings.Contains(text, "panic") {
		t.Errorf("sampand's log:\n%s", text)
	}
}

func (p *process) whole(t *testing.T, when string) {
	t.Helper()
	if out, err := p.sampan("system", "check", "--images"); err != nil {
		t.Errorf("%s: system check: %v\n%s", when, err, out)
	}
}

// nothingLeft waits until what was removed is gone and looks for more than the
// built-in image.
func (p *process) nothingLeft(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(lab.Scale(10 * time.Second)); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left = nil
		for _, pattern := range []string{"blobs/ingest/*", "layers/tmp/*", "layers/mended/*", "trash/*/*", "containers/*", "layers/sha256/*", "blobs/sha256/*"} {
			found, err := filepath.Glob(filepath.Join(p.root, pattern))
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, found...)
		}
		if len(left) == 0 {
			return
		}
	}
	out, _ := p.sampan("images", "-a")
	t.Errorf("left over at the end: %v\nimages:\n%s", left, out)
}
