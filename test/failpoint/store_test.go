//go:build failpoints

package failpoint

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/archive"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/registry/client"
	"github.com/sampan-containers/sampan/registry/hosts"
	"github.com/sampan-containers/sampan/state"
	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/failpoint/steps"
	"github.com/sampan-containers/sampan/test/hostile"
)

// The folders whose steps are tried here.
var folders = []string{"../../content", "../../layer", "../../image"}

const (
	rootEnv = "SAMPAN_TEST_ROOT"
	workEnv = "SAMPAN_TEST_WORK"
	// registryEnv is where pulls come from and pushes go to.
	registryEnv = "SAMPAN_TEST_REGISTRY"
)

// engine is the image store of one process.
type engine struct {
	images   *image.Service
	archives *archive.Service
	store    *state.Store
}

type silent struct{}

func (silent) Publish(events.Message) {}

func openEngine(root string) (*engine, error) {
	store, err := state.Open(filepath.Join(root, "state.db"))
	if err != nil {
		return nil, err
	}
	images, err := image.New(image.Config{Root: root, Log: slog.New(slog.DiscardHandler)}, store, silent{})
	if err != nil {
		return nil, err
	}
	return &engine{images, archive.New(images), store}, nil
}

func (e *engine) transfers() *transfer.Service {
	return transfer.New(transfer.Config{}, e.images, client.New(&hosts.Config{}, client.DefaultLimits(), "test"))
}

// lean keeps no compressed layers.
func (e *engine) lean() *transfer.Service {
	return transfer.New(transfer.Config{DropBlobs: true}, e.images, client.New(&hosts.Config{}, client.DefaultLimits(), "test"))
}

func leanName() string { return os.Getenv(registryEnv) + "/lean:lean" }

func (e *engine) pullLean(ctx context.Context) error {
	return e.lean().Pull(ctx, leanName(), transfer.PullOptions{Platform: "linux/amd64"}, io.Discard)
}

func (e *engine) close() error {
	e.images.Wait()
	if err := e.images.Close(); err != nil {
		return err
	}
	return e.store.Close()
}

// work is what a process does until it is killed. Every one may be repeated.
type work struct {
	name string
	do   func(ctx context.Context, e *engine) error
	// gone are the tags that may be gone after it.
	gone []string
}

var works = []work{
	{name: "import", do: func(ctx context.Context, e *engine) error {
		_, err := e.images.Import(ctx, bytes.NewReader(layerTar("imported")), image.ImportOptions{Reference: "imported:1"}, io.Discard)
		return err
	}},
	{name: "load", do: func(ctx context.Context, e *engine) error {
		return e.archives.Load(ctx, bytes.NewReader(layout("loaded")), archive.LoadOptions{Quiet: true}, io.Discard)
	}},
	{name: "commit", do: func(ctx context.Context, e *engine) error {
		old, err := e.images.Get(ctx, "old:1")
		if err != nil {
			return err
		}
		_, err = e.images.Commit(ctx, bytes.NewReader(layerTar("committed")), image.CommitOptions{Parent: old.ID.String(), Reference: "committed:1"})
		return err
	}},
	{name: "tag over", do: func(ctx context.Context, e *engine) error { return e.images.Tag(ctx, "old:1", "other", "1") }},
	{name: "save", do: func(ctx context.Context, e *engine) error {
		return e.archives.Save(ctx, []string{"old:1", "archived:1"}, nil, func() io.Writer { return io.Discard })
	}},
	{name: "rmi", gone: []string{"archived:1"}, do: func(ctx context.Context, e *engine) error {
		if _, err := e.images.Get(ctx, "archived:1"); err != nil {
			return nil // removed by the run that was killed
		}
		_, err := e.images.Delete(ctx, "archived:1", false, true)
		return err
	}},
	{name: "pull", do: func(ctx context.Context, e *engine) error {
		return e.transfers().Pull(ctx, os.Getenv(registryEnv)+"/web:1", transfer.PullOptions{Platform: "linux/amd64"}, io.Discard)
	}},
	{name: "push", do: func(ctx context.Context, e *engine) error {
		if err := e.images.Tag(ctx, "old:1", os.Getenv(registryEnv)+"/made", "1"); err != nil {
			return err
		}
		return e.transfers().Push(ctx, os.Getenv(registryEnv)+"/made:1", transfer.PushOptions{}, io.Discard)
	}},
	{name: "pull, blobs dropped", do: func(ctx context.Context, e *engine) error { return e.pullLean(ctx) }},
	{name: "push, blobs dropped", do: func(ctx context.Context, e *engine) error {
		if err := e.pullLean(ctx); err != nil {
			return err
		}
		if err := e.images.Tag(ctx, leanName(), os.Getenv(registryEnv)+"/copied", "copied"); err != nil {
			return err
		}
		return e.lean().Push(ctx, os.Getenv(registryEnv)+"/copied:copied", transfer.PushOptions{}, io.Discard)
	}},
	{name: "prune", gone: []string{"old:1", "other:1", "archived:1"}, do: func(ctx context.Context, e *engine) error {
		_, err := e.images.Prune(ctx, image.PruneOptions{Unused: true})
		return err
	}},
}

// before are the images that are there before each work.
func before(ctx context.Context, e *engine) error {
	for _, name := range []string{"old:1", "other:1"} {
		if _, err := e.images.Import(ctx, bytes.NewReader(layerTar(name)), image.ImportOptions{Reference: name}, io.Discard); err != nil {
			return err
		}
	}
	return e.archives.Load(ctx, bytes.NewReader(layout("archived")), archive.LoadOptions{Quiet: true}, io.Discard)
}

// TestMain is the process that is killed, when its environment says so.
func TestMain(m *testing.M) {
	root := os.Getenv(rootEnv)
	if root == "" {
		if os.Geteuid() != 0 {
			fmt.Println("skipped: layers need root")
			os.Exit(0)
		}
		os.Exit(m.Run())
	}
	e, err := openEngine(root)
	if err == nil {
		i := slices.IndexFunc(works, func(w work) bool { return w.name == os.Getenv(workEnv) })
		err = works[i].do(context.Background(), e)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Every step of every work is tried: the process is killed there, and after a
// restart nothing that was there is lost, nothing half is visible, the work can be
// done, and in the end no byte is left over.
func TestKilledAtEveryStep(t *testing.T) {
	r := hostile.New(t, "")
	r.Add(t, "1", []hostile.Layer{hostile.Gzip(t, layerTar("pulled-lower")), hostile.Gzip(t, layerTar("pulled-upper"))}, nil)
	r.Add(t, "lean", []hostile.Layer{hostile.Gzip(t, layerTar("lean-lower")), hostile.Gzip(t, layerTar("lean-upper"))}, nil)
	t.Setenv(registryEnv, r.Host())
	tried := map[string]bool{}
	kills := 0
	for range counts.Of("failpoint.round") {
		for _, w := range works {
			for _, step := range steps.In(t, folders...) {
				kills += killedEverywhere(t, w, step, tried)
			}
		}
	}
	for _, step := range steps.In(t, folders...) {
		if !tried[step] {
			t.Errorf("no work reaches the step %s", step)
		}
	}
	t.Logf("%d kills at %d steps", kills, len(tried))
}

// killedEverywhere kills a work at its first, second, … pass of a step.
func killedEverywhere(t *testing.T, w work, step string, tried map[string]bool) (kills int) {
	for pass := 1; ; pass++ {
		killed := false
		t.Run(fmt.Sprintf("%s/%s:%d", w.name, step, pass), func(t *testing.T) { killed = killedAt(t, w, step, pass) })
		if !killed {
			return kills // the work does not pass there so often
		}
		tried[step] = true
		kills++
	}
}

func killedAt(t *testing.T, w work, step string, pass int) bool {
	root := t.TempDir()
	ctx := t.Context()
	e := reopen(t, root)
	if err := before(ctx, e); err != nil {
		t.Fatal(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	if !run(t, w, root, step, pass) {
		return false
	}
	e = reopen(t, root)
	for _, name := range []string{"old:1", "other:1", "archived:1"} {
		if _, err := e.images.Get(ctx, name); err != nil && !slices.Contains(w.gone, name) {
			t.Errorf("after the kill %s is lost: %v", name, err)
		}
	}
	whole(t, e, "after the kill")
	if err := w.do(ctx, e); err != nil {
		t.Errorf("the retry: %v", err)
	}
	whole(t, e, "after the retry")
	if _, err := e.images.Prune(ctx, image.PruneOptions{Unused: true}); err != nil {
		t.Error(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, root); len(left) > 0 {
		t.Errorf("left over at the end: %v", left)
	}
	return true
}

func reopen(t *testing.T, root string) *engine {
	t.Helper()
	e, err := openEngine(root)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// whole verifies every image that is visible.
func whole(t *testing.T, e *engine, when string) {
	t.Helper()
	report, err := integrity.New(e.images).Check(t.Context())
	if err != nil || len(report.Damaged) > 0 {
		t.Errorf("%s: %+v, %v", when, report, err)
	}
	list, err := e.images.List(t.Context(), image.ListOptions{All: true})
	if err != nil {
		t.Errorf("%s: %v", when, err)
	}
	for _, sum := range list {
		img, err := e.images.Get(t.Context(), sum.ID)
		if err == nil {
			_, err = e.images.Lowers(img)
		}
		if err != nil {
			t.Errorf("%s: image %s cannot be used: %v", when, sum.ID, err)
		}
	}
}

// files lists what is not a directory of the empty store.
func files(t *testing.T, root string) (left []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if err == nil && rel != "state.db" && (!d.IsDir() || strings.Count(rel, "/") > 1) {
			left = append(left, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// run does the work in a process of its own and tells whether it died at the step.
func run(t *testing.T, w work, root, step string, pass int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), rootEnv+"="+root, workEnv+"="+w.name, fmt.Sprintf("%s=%s:%d", failpoint.Env, step, pass))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || ctx.Err() != nil {
		t.Fatalf("the work failed: %v\n%s", err, out)
	}
	return true
}

func layerTar(text string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"etc/" + text, "shared"} {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))})
		_, _ = io.WriteString(w, text)
	}
	_ = w.Close()
	return b.Bytes()
}

// layout is an OCI layout of an image with two gzip layers.
func layout(name string) []byte {
	files := map[string][]byte{}
	blob := func(mediaType string, raw []byte) ocispec.Descriptor {
		d := digest.FromBytes(raw)
		files["blobs/sha256/"+d.Encoded()] = raw
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
	}
	encode := func(v any) []byte { raw, _ := json.Marshal(v); return raw }
	var m ocispec.Manifest
	var cfg dockerspec.DockerOCIImage
	cfg.OS, cfg.Architecture, cfg.RootFS.Type = "linux", "amd64", "layers"
	for _, text := range []string{name + "-lower", name + "-upper"} {
		raw := layerTar(text)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(raw))
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(raw)
		_ = w.Close()
		m.Layers = append(m.Layers, blob(ocispec.MediaTypeImageLayerGzip, z.Bytes()))
	}
	m.SchemaVersion, m.MediaType = 2, ocispec.MediaTypeImageManifest
	m.Config = blob(ocispec.MediaTypeImageConfig, encode(cfg))
	d := blob(ocispec.MediaTypeImageManifest, encode(m))
	d.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/" + name + ":1"}
	files["index.json"] = encode(ocispec.Index{Manifests: []ocispec.Descriptor{d}})
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, raw := range files {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(raw))})
		_, _ = w.Write(raw)
	}
	_ = w.Close()
	return b.Bytes()
}
