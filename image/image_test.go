package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image/changes"
	"github.com/sampan-containers/sampan/state"
)

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: layers hold other owners' files, so these tests need root")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// heard collects events as "action name".
type heard struct {
	mu   sync.Mutex
	list []string
}

func (h *heard) Publish(m events.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, string(m.Action)+" "+m.Actor.Attributes["name"])
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.list
	h.list = nil
	return list
}

// engine is a Service with what it stands on.
type engine struct {
	*Service
	root  string
	state *state.Store
	heard *heard
}

func openEngine(t testing.TB, root string) *engine {
	t.Helper()
	store, err := state.Open(filepath.Join(root, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{root: root, state: store, heard: &heard{}}
	if e.Service, err = New(Config{Root: root}, store, e.heard); err != nil {
		store.Close()
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

func (e *engine) close() {
	e.Service.Close()
	e.state.Close()
}

// archive makes a tar with the given files.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(name))}
		if strings.HasSuffix(name, "/") {
			h = &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, name[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (e *engine) load(t testing.TB, ref string, files ...string) digest.Digest {
	t.Helper()
	id, err := e.Import(t.Context(), bytes.NewReader(archive(t, append([]string{"./"}, files...)...)), ImportOptions{Reference: ref}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	e.heard.take()
	return id
}

// onDisk lists the blobs, layers and leftovers of the data root.
func (e *engine) onDisk(t testing.TB) []string {
	t.Helper()
	e.Wait()
	var list []string
	for _, dir := range []string{"blobs/sha256", "blobs/ingest", "layers/sha256", "layers/mended", "layers/tmp", "trash/layers"} {
		entries, err := os.ReadDir(filepath.Join(e.root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			list = append(list, dir+"/"+entry.Name())
		}
	}
	return list
}

func TestImport(t *testing.T) {
	e := openEngine(t, t.TempDir())
	var progress bytes.Buffer
	id, err := e.Import(t.Context(), bytes.NewReader(archive(t, "./", "etc/", "etc/hello")), ImportOptions{
		Reference: "web", Message: "by hand", Platform: "linux/arm64/v8",
		Changes: []string{"CMD [\"/bin/sh\"]", "ENV a=b\nLABEL x=y"},
	}, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"status":"` + id.String() + "\"}\r\n"; progress.String() != want {
		t.Errorf("progress = %q, want %q", progress.String(), want)
	}
	if got := e.heard.take(); !slices.Equal(got, []string{"import " + id.String(), "tag web:latest"}) {
		t.Errorf("events = %q", got)
	}
	raw, err := os.ReadFile(filepath.Join(e.root, "blobs", "sha256", id.Encoded()))
	if err != nil || digest.FromBytes(raw) != id {
		t.Errorf("the config blob does not have the image's ID: %v", err)
	}
	in, err := e.Inspect(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	if in.ID != id.String() || !slices.Equal(in.RepoTags, []string{"web:latest"}) || in.RepoDigests == nil || len(in.RepoDigests) != 0 ||
		in.Comment != "by hand" || in.Os != "linux" || in.Architecture != "arm64" || in.Variant != "v8" || in.Size != int64(len("etc/hello")) ||
		in.RootFS.Type != "layers" || len(in.RootFS.Layers) != 1 || in.GraphDriver.Name != "overlay2" || in.Metadata.LastTagTime.IsZero() {
		t.Errorf("Inspect = %+v", in)
	}
	if created, err := time.Parse(time.RFC3339Nano, in.Created); err != nil || time.Since(created) > time.Minute {
		t.Errorf("Created = %q, %v", in.Created, err)
	}
	if !slices.Equal(in.Config.Cmd, []string{"/bin/sh"}) || !slices.Equal(in.Config.Env, []string{"a=b"}) || in.Config.Labels["x"] != "y" {
		t.Errorf("Config = %+v", in.Config)
	}
	img, err := e.Get(t.Context(), "web:latest")
	if err != nil {
		t.Fatal(err)
	}
	lowers, err := e.Lowers(img)
	if err != nil || len(lowers) != 1 {
		t.Fatalf("Lowers = %q, %v", lowers, err)
	}
	if got, err := os.ReadFile(filepath.Join(lowers[0], "etc/hello")); err != nil || string(got) != "etc/hello" {
		t.Errorf("etc/hello = %q, %v", got, err)
	}
	history, err := e.History(t.Context(), "web")
	if err != nil || len(history) != 1 || history[0].ID != id.String() || history[0].Comment != "by hand" || history[0].Size != 9 || !slices.Equal(history[0].Tags, []string{"web:latest"}) {
		t.Errorf("History = %+v, %v", history, err)
	}
	if e.Count() != 1 {
		t.Errorf("Count = %d", e.Count())
	}
}

func TestFailedImportLeavesNothing(t *testing.T) {
	good := archive(t, "./", "f")
	for name, test := range map[string]struct {
		body io.Reader
		o    ImportOptions
		want string
	}{
		"empty":             {strings.NewReader(""), ImportOptions{Reference: "x"}, "0 bytes"},
		"no tar":            {strings.NewReader(strings.Repeat("text ", 500)), ImportOptions{Reference: "x"}, "not a tar archive"},
		"cut off":           {bytes.NewReader(good[:700]), ImportOptions{Reference: "x"}, "cut off"},
		"source fails":      {io.MultiReader(bytes.NewReader(good[:600]), failing{}), ImportOptions{Reference: "x"}, "the client went away"},
		"bad name":          {bytes.NewReader(good), ImportOptions{Reference: "UPPER"}, "must be lowercase"},
		"digest as name":    {bytes.NewReader(good), ImportOptions{Reference: "x@sha256:" + strings.Repeat("a", 64)}, "digest"},
		"reserved name":     {bytes.NewReader(good), ImportOptions{Reference: "sha256:abc"}, "digest"},
		"bad change":        {bytes.NewReader(good), ImportOptions{Reference: "x", Changes: []string{"RUN make"}}, "run is not a valid change command"},
		"unknown change":    {bytes.NewReader(good), ImportOptions{Reference: "x", Changes: []string{"FLY away"}}, "unknown instruction: FLY"},
		"bad platform":      {bytes.NewReader(good), ImportOptions{Reference: "x", Platform: "linux/../.."}, "platform"},
		"foreign platform":  {bytes.NewReader(good), ImportOptions{Reference: "x", Platform: "windows/amd64"}, "not supported"},
		"huge change":       {bytes.NewReader(good), ImportOptions{Reference: "x", Changes: []string{"LABEL a=" + strings.Repeat("b", changes.Max)}}, "limit"},
		"climbing archive":  {bytes.NewReader(archive(t, "./", "../../x")), ImportOptions{Reference: "x"}, "outside of the root"},
		"reference of 1 MB": {bytes.NewReader(good), ImportOptions{Reference: strings.Repeat("a", 1<<20)}, "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, t.TempDir())
			var progress bytes.Buffer
			_, err := e.Import(t.Context(), test.body, test.o, &progress)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Import = %v, want …%s…", err, test.want)
			}
			if name != "source fails" && !errors.Is(err, fault.Invalid) {
				t.Errorf("class of %v is %v", err, fault.Of(err))
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
				t.Errorf("not one sentence: %q", err)
			}
			if progress.Len() > 0 {
				t.Errorf("progress before the failure: %q", progress.String())
			}
			if list, err := e.List(t.Context(), ListOptions{All: true}); err != nil || len(list) != 0 {
				t.Errorf("List = %v, %v", list, err)
			}
			if left := e.onDisk(t); len(left) != 0 {
				t.Errorf("left on disk: %q", left)
			}
			if got := e.heard.take(); len(got) != 0 {
				t.Errorf("events = %q", got)
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the client went away") }

func TestCancelledImport(t *testing.T) {
	e := openEngine(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		w.Write(archive(t, "./", "f")[:600])
		cancel()
		w.Write(make([]byte, 1000))
		w.Close()
	}()
	if _, err := e.Import(ctx, r, ImportOptions{Reference: "x"}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Import = %v", err)
	}
	if left := e.onDisk(t); len(left) != 0 {
		t.Errorf("left on disk: %q", left)
	}
}

func TestGet(t *testing.T) {
	e := openEngine(t, t.TempDir())
	id := e.load(t, "registry.example:5000/team/web:v1", "f")
	other := e.load(t, "library/web", "g")
	hex := id.Encoded()
	for ref, want := range map[string]digest.Digest{
		"registry.example:5000/team/web:v1": id,
		"web":                               other,
		"web:latest":                        other,
		"docker.io/library/web":             other,
		"index.docker.io/library/web":       other,
		id.String():                         id,
		hex:                                 id,
		hex[:12]:                            id,
		"sha256:" + hex[:10]:                id,
	} {
		img, err := e.Get(t.Context(), ref)
		if err != nil || img.ID != want {
			t.Errorf("Get(%q) = %v, %v, want %s", ref, img, err, want)
		}
	}
	for ref, want := range map[string]string{
		"absent":                            "No such image: absent:latest",
		"absent:v2":                         "No such image: absent:v2",
		"registry.example:5000/team/web":    "No such image: registry.example:5000/team/web:latest",
		"sha256:" + strings.Repeat("0", 64): "No such image: sha256:" + strings.Repeat("0", 64),
		strings.Repeat("f", 64):             "No such image: sha256:" + strings.Repeat("f", 64),
	} {
		if _, err := e.Get(t.Context(), ref); !errors.Is(err, fault.NotFound) || err.Error() != want {
			t.Errorf("Get(%q) = %v, want %q", ref, err, want)
		}
	}
	for _, ref := range []string{"", "UPPER", "a b", "../../x", "x:" + strings.Repeat("t", 300), "a\x00b", strings.Repeat("x", 5000)} {
		if _, err := e.Get(t.Context(), ref); !errors.Is(err, fault.Invalid) {
			t.Errorf("Get(%.20q) = %v, want an invalid reference", ref, err)
		}
	}
}

func TestAmbiguousPrefix(t *testing.T) {
	e := openEngine(t, t.TempDir())
	seen := map[byte]digest.Digest{}
	for i := range 17 { // 16 first digits there are
		id := e.load(t, fmt.Sprintf("img:%d", i), "same")
		first := id.Encoded()[0]
		if _, twice := seen[first]; twice {
			_, err := e.Get(t.Context(), "sha256:"+string(first))
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "ambiguous") {
				t.Errorf("Get of an ambiguous prefix = %v", err)
			}
			return
		}
		seen[first] = id
	}
	t.Error("17 images have 17 different first digits")
}

func TestNameWinsOverPrefix(t *testing.T) {
	e := openEngine(t, t.TempDir())
	a := e.load(t, "a-image", "a")
	b := e.load(t, a.Encoded()[:6], "b")
	if img, err := e.Get(t.Context(), a.Encoded()[:6]); err != nil || img.ID != b {
		t.Errorf("Get = %v, %v, want the name's image %s", img, err, b)
	}
}

func TestTag(t *testing.T) {
	e := openEngine(t, t.TempDir())
	a, b := e.load(t, "a", "a"), e.load(t, "b", "b")
	if err := e.Tag(t.Context(), a.Encoded()[:8], "name", "v1"); err != nil {
		t.Fatal(err)
	}
	if got := e.heard.take(); !slices.Equal(got, []string{"tag name:v1"}) {
		t.Errorf("events = %q", got)
	}
	if err := e.Tag(t.Context(), "b", "docker.io/library/name:v1", ""); err != nil {
		t.Fatal(err)
	}
	img, err := e.Get(t.Context(), "name:v1")
	if err != nil || img.ID != b || !slices.Equal(img.RepoTags, []string{"b:latest", "name:v1"}) {
		t.Errorf("Get = %+v, %v: the name must have moved", img, err)
	}
	for _, bad := range []struct{ repo, tag string }{{"UP", ""}, {"", "x"}, {"a", "t t"}, {"a@" + b.String(), ""}, {"sha256", "x"}, {strings.Repeat("a", 64), ""}} {
		if err := e.Tag(t.Context(), "a", bad.repo, bad.tag); !errors.Is(err, fault.Invalid) {
			t.Errorf("Tag(%q, %q) = %v", bad.repo, bad.tag, err)
		}
	}
	if err := e.Tag(t.Context(), "absent", "x", ""); !errors.Is(err, fault.NotFound) {
		t.Errorf("Tag of nothing = %v", err)
	}
}

// digestName gives an image the name that a pull will give it.
func (e *engine) digestName(t *testing.T, id digest.Digest, repo string) string {
	t.Helper()
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.WithDigest(named, digest.FromString("manifest of "+repo))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.state.Update(func(tx *state.Tx) error { return tx.Put(nameBucket, ref.String(), id) }); err != nil {
		t.Fatal(err)
	}
	return reference.FamiliarString(ref)
}

func describe(list []image.DeleteResponse) []string {
	var out []string
	for _, r := range list {
		if r.Untagged != "" {
			out = append(out, "untagged "+r.Untagged)
		}
		if r.Deleted != "" {
			out = append(out, "deleted")
		}
	}
	return out
}

func TestDelete(t *testing.T) {
	stopped, running := []Container{{ID: strings.Repeat("c", 64)}}, []Container{{ID: strings.Repeat("d", 64), Running: true}}
	for name, test := range map[string]struct {
		tags     []string // further names
		users    []Container
		ref      string // "ID" is the image's ID
		force    bool
		want     []string
		conflict string // %s is the short ID
		gone     bool
	}{
		"last name":                                  {nil, nil, "web", false, []string{"untagged web:latest", "deleted", "deleted"}, "", true},
		"one of two names":                           {[]string{"other:1"}, nil, "web", false, []string{"untagged web:latest"}, "", false},
		"by ID":                                      {nil, nil, "ID", false, []string{"untagged web:latest", "deleted", "deleted"}, "", true},
		"by ID with two tags of one repository":      {[]string{"web:2"}, nil, "ID", false, nil, "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", false},
		"by ID with two repositories":                {[]string{"other:1"}, nil, "ID", false, nil, "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", false},
		"forced by ID with two repositories":         {[]string{"other:1"}, nil, "ID", true, []string{"untagged other:1", "untagged web:latest", "deleted", "deleted"}, "", true},
		"name in use":                                {nil, stopped, "web", false, nil, `conflict: unable to remove repository reference "web" (must force) - container cccccccccccc is using its referenced image %s`, false},
		"one of two names in use":                    {[]string{"other:1"}, stopped, "web", false, []string{"untagged web:latest"}, "", false},
		"ID in use by a stopped container":           {nil, stopped, "ID", false, nil, "conflict: unable to delete %s (must be forced) - image is being used by stopped container cccccccccccc", false},
		"ID in use by a running container":           {nil, running, "ID", true, nil, "conflict: unable to delete %s (cannot be forced) - image is being used by running container dddddddddddd", false},
		"name in use by a running container, forced": {nil, running, "web", true, []string{"untagged web:latest"}, "conflict: unable to delete %s (cannot be forced) - image is being used by running container dddddddddddd", false},
		"absent": {nil, nil, "absent", false, nil, "No such image: absent:latest", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, t.TempDir())
			id := e.load(t, "web", "f")
			for _, tag := range test.tags {
				if err := e.Tag(t.Context(), "web", tag, ""); err != nil {
					t.Fatal(err)
				}
			}
			e.heard.take()
			e.InUse = func(image string) []Container {
				if image == id.String() {
					return test.users
				}
				return nil
			}
			ref := strings.Replace(test.ref, "ID", id.Encoded()[:12], 1)
			got, err := e.Delete(t.Context(), ref, test.force, true)
			if test.conflict != "" {
				want := strings.ReplaceAll(test.conflict, "%s", short(id))
				if name == "name in use by a running container, forced" {
					// The name goes; the image that is used stays, nameless.
					if err == nil && slices.Equal(describe(got), test.want) {
						return
					}
				}
				if err == nil || err.Error() != want {
					t.Fatalf("Delete = %v, %v, want %q", describe(got), err, want)
				}
				if _, err := e.Get(t.Context(), "web"); err != nil {
					t.Errorf("a refused delete took something: %v", err)
				}
				return
			}
			if err != nil || !slices.Equal(describe(got), test.want) {
				t.Fatalf("Delete = %q, %v, want %q", describe(got), err, test.want)
			}
			for i, event := range e.heard.take() {
				action, _, _ := strings.Cut(event, " ")
				if want := "untag"; i < strings.Count(strings.Join(test.want, " "), "untagged") && action != want {
					t.Errorf("event %d = %q", i, event)
				}
			}
			if left := e.onDisk(t); test.gone != (len(left) == 0) {
				t.Errorf("on disk: %q", left)
			}
		})
	}
}

func TestDigestNamesGoWithTheLastTag(t *testing.T) {
	e := openEngine(t, t.TempDir())
	id := e.load(t, "web:1", "f")
	digested := e.digestName(t, id, "web")
	img, err := e.Get(t.Context(), digested)
	if err != nil || img.ID != id || !slices.Equal(img.RepoDigests, []string{digested}) {
		t.Fatalf("Get by digest = %+v, %v", img, err)
	}
	got, err := e.Delete(t.Context(), "web:1", false, true)
	if want := []string{"untagged web:1", "untagged " + digested, "deleted", "deleted"}; err != nil || !slices.Equal(describe(got), want) {
		t.Errorf("Delete = %q, %v, want %q", describe(got), err, want)
	}
}

func TestSharedLayersStay(t *testing.T) {
	e := openEngine(t, t.TempDir())
	e.load(t, "a", "same")
	e.load(t, "b", "same")
	if _, err := e.Delete(t.Context(), "a", false, true); err != nil {
		t.Fatal(err)
	}
	img, err := e.Get(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	lowers, err := e.Lowers(img)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(lowers[0], "same")); err != nil {
		t.Errorf("a shared layer went with another image: %v", err)
	}
	if list, err := e.List(t.Context(), ListOptions{SharedSize: true}); err != nil || len(list) != 1 || list[0].SharedSize != 0 {
		t.Errorf("List = %+v, %v", list, err)
	}
}

func TestForcedDeleteLeavesTheContainerItsImage(t *testing.T) {
	root := t.TempDir()
	e := openEngine(t, root)
	id := e.load(t, "web", "f")
	users := []Container{{ID: strings.Repeat("c", 64)}}
	inUse := func(string) []Container { return users }
	e.InUse = inUse
	if got, err := e.Delete(t.Context(), "web", true, true); err != nil || !slices.Contains(describe(got), "deleted") {
		t.Fatalf("Delete = %v, %v", got, err)
	}
	if list, err := e.List(t.Context(), ListOptions{All: true}); err != nil || len(list) != 0 || e.Count() != 0 {
		t.Errorf("List = %v, %v", list, err)
	}
	if _, err := e.Get(t.Context(), id.Encoded()[:12]); !errors.Is(err, fault.NotFound) {
		t.Errorf("Get by prefix = %v", err)
	}
	e.close()
	e = openEngine(t, root) // the layers survive a restart too
	e.InUse = inUse
	img, err := e.Get(t.Context(), id.String())
	if err != nil {
		t.Fatalf("the container's image is gone: %v", err)
	}
	if _, err := e.Lowers(img); err != nil {
		t.Fatal(err)
	}
	users = nil
	e.load(t, "other", "g")
	if _, err := e.Delete(t.Context(), "other", false, true); err != nil {
		t.Fatal(err)
	}
	if left := e.onDisk(t); len(left) != 0 {
		t.Errorf("left on disk: %q", left)
	}
}

func TestList(t *testing.T) {
	e := openEngine(t, t.TempDir())
	import1 := func(ref string, changes ...string) digest.Digest {
		id, err := e.Import(t.Context(), bytes.NewReader(archive(t, "./", ref+"f")), ImportOptions{Reference: ref, Changes: changes}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	import1("old:1", "LABEL tier=a")
	import1("example.org/x/mid:2", "LABEL tier=b", "LABEL extra=")
	import1("")
	import1("new:3")
	for name, test := range map[string]struct {
		filters map[string][]string
		want    []string
	}{
		"all, newest first":     {nil, []string{"new:3", "", "example.org/x/mid:2", "old:1"}},
		"dangling":              {map[string][]string{"dangling": {"true"}}, []string{""}},
		"not dangling":          {map[string][]string{"dangling": {"false"}}, []string{"new:3", "example.org/x/mid:2", "old:1"}},
		"label":                 {map[string][]string{"label": {"tier"}}, []string{"example.org/x/mid:2", "old:1"}},
		"label and value":       {map[string][]string{"label": {"tier=b"}}, []string{"example.org/x/mid:2"}},
		"two labels":            {map[string][]string{"label": {"tier=b", "extra"}}, []string{"example.org/x/mid:2"}},
		"reference":             {map[string][]string{"reference": {"new"}}, []string{"new:3"}},
		"reference with a star": {map[string][]string{"reference": {"*:1", "new*"}}, []string{"new:3", "old:1"}},
		"reference elsewhere":   {map[string][]string{"reference": {"example.org/*/*"}}, []string{"example.org/x/mid:2"}},
		"before":                {map[string][]string{"before": {"example.org/x/mid:2"}}, []string{"old:1"}},
		"since":                 {map[string][]string{"since": {"example.org/x/mid:2"}}, []string{"new:3", ""}},
		"until":                 {map[string][]string{"until": {"1h"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := e.List(t.Context(), ListOptions{Filters: test.filters})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range list {
				got = append(got, strings.Join(s.RepoTags, ","))
				if s.SharedSize != -1 || s.Containers != -1 || s.RepoTags == nil || s.RepoDigests == nil {
					t.Errorf("summary = %+v", s)
				}
			}
			slices.Sort(got) // imports within one second have one Created
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	for _, bad := range []map[string][]string{{"colour": {"red"}}, {"dangling": {"maybe"}}, {"dangling": {"true", "false"}}, {"reference": {"[a"}}, {"until": {"soon"}}} {
		if _, err := e.List(t.Context(), ListOptions{Filters: bad}); !errors.Is(err, fault.Invalid) {
			t.Errorf("List(%v) = %v", bad, err)
		}
	}
	if _, err := e.List(t.Context(), ListOptions{Filters: map[string][]string{"before": {"absent"}}}); !errors.Is(err, fault.NotFound) {
		t.Errorf("before an absent image: %v", err)
	}
}

func TestSweepRemovesWhatHasNoRecord(t *testing.T) {
	root := t.TempDir()
	e := openEngine(t, root)
	e.load(t, "kept", "f")
	kept := e.onDisk(t)
	info, err := e.layers.Unpack(t.Context(), bytes.NewReader(archive(t, "orphan")), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.blobs.Put(t.Context(), strings.NewReader("orphan"), "", 100); err != nil {
		t.Fatal(err)
	}
	e.close()
	e = openEngine(t, root)
	if got := e.onDisk(t); !slices.Equal(got, kept) {
		t.Errorf("on disk %q, want %q (layer %s had no record)", got, kept, info.DiffID)
	}
	if _, err := e.Get(t.Context(), "kept"); err != nil {
		t.Error(err)
	}
}

func TestDamagedConfigIsNamed(t *testing.T) {
	e := openEngine(t, t.TempDir())
	id := e.load(t, "broken", "f")
	e.load(t, "whole", "g")
	e.configs.drop(id)
	path := filepath.Join(e.root, "blobs", "sha256", id.Encoded())
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Get(t.Context(), "broken"); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Get = %v", err)
	}
	if list, err := e.List(t.Context(), ListOptions{}); err != nil || len(list) != 1 {
		t.Errorf("List = %v, %v: one damaged image must not hide the others", list, err)
	}
	if _, err := e.Delete(t.Context(), "broken", false, true); err != nil {
		t.Errorf("Delete of a damaged image = %v", err)
	}
}

func TestConcurrentImportsAndDeletes(t *testing.T) {
	e := openEngine(t, t.TempDir())
	raw := archive(t, "./", "same")
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			for range 10 {
				name := fmt.Sprintf("img:%d", i)
				if _, err := e.Import(t.Context(), bytes.NewReader(raw), ImportOptions{Reference: name}, io.Discard); err != nil {
					t.Error(err)
					return
				}
				img, err := e.Get(t.Context(), name)
				if err == nil {
					_, err = e.Lowers(img)
				}
				if err != nil {
					t.Errorf("right after import: %v", err)
				}
				if _, err := e.Delete(t.Context(), name, false, true); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if left := e.onDisk(t); len(left) != 0 {
		t.Errorf("left on disk: %q", left)
	}
}
