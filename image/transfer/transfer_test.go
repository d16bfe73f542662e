package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/client"
	"github.com/sampan-containers/sampan/registry/hosts"
	"github.com/sampan-containers/sampan/state"
	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/hostile"
)

type bus struct{}

func (bus) Publish(events.Message) {}

// fast are limits for tests: a fault is noticed soon and tried again at once.
func fast() client.Limits {
	return client.Limits{Attempts: 4, Dial: 2 * time.Second, Header: 500 * time.Millisecond, Stall: 300 * time.Millisecond,
		Backoff: time.Millisecond, BackoffMax: 5 * time.Millisecond, RetryAfter: 50 * time.Millisecond}
}

type lab struct {
	*Service
	root   string
	images *image.Service
}

func open(t *testing.T, root string, cfg *hosts.Config) *lab {
	t.Helper()
	store, err := state.Open(filepath.Join(root, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	images, err := image.New(image.Config{Root: root}, store, bus{})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{}, images, client.New(cfg, fast(), "test"))
	t.Cleanup(func() {
		s.Close()
		images.Wait()
		if err := errors.Join(images.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return &lab{s, root, images}
}

func newLab(t *testing.T) *lab { return open(t, t.TempDir(), &hosts.Config{}) }

func (l *lab) pull(t *testing.T, name string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := l.Pull(t.Context(), name, PullOptions{Platform: "linux/amd64"}, &out)
	return out.String(), err
}

func (l *lab) mustPull(t *testing.T, name string) string {
	t.Helper()
	out, err := l.pull(t, name)
	if err != nil {
		t.Fatalf("pull %s: %v", name, err)
	}
	return out
}

// noise is content that does not compress, so that sizes are what they seem.
func noise(seed string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256([]byte(fmt.Sprint(seed, i)))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func tarOf(t *testing.T, name string, n int) []byte {
	return hostile.Tar(t, map[string][]byte{name: noise(name, n)}, name)
}

// clean tells what a failed pull left beside the beginnings of blobs.
func (l *lab) clean(t *testing.T) {
	t.Helper()
	l.images.Wait()
	for _, dir := range []string{"layers/sha256", "layers/tmp"} {
		entries, err := os.ReadDir(filepath.Join(l.root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("%s/%s is left", dir, e.Name())
		}
	}
	if err := l.images.Blobs().Walk(func(d digest.Digest) error { t.Errorf("blob %s is left", d); return nil }); err != nil {
		t.Error(err)
	}
}

func TestPull(t *testing.T) {
	r := hostile.New(t, "")
	one, two := tarOf(t, "one", 300_000), tarOf(t, "two", 200_000)
	amd := r.Add(t, "amd", []hostile.Layer{hostile.Gzip(t, one), hostile.Zstd(t, two), {Plain: tarOf(t, "three", 10), Blob: tarOf(t, "three", 10), MediaType: ocispec.MediaTypeImageLayer}}, nil)
	arm := r.Add(t, "arm", []hostile.Layer{hostile.Gzip(t, tarOf(t, "arm", 5000))}, func(cfg *ocispec.Image, _ *ocispec.Manifest) { cfg.Architecture = "arm64" })
	index := r.Index(t, "both",
		ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("none"), Size: 4, Platform: &ocispec.Platform{OS: "unknown", Architecture: "unknown"}, Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}},
		arm.Entry(&ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}), amd.Entry(&ocispec.Platform{OS: "linux", Architecture: "amd64"}))
	l := newLab(t)
	name := r.Host() + "/team/web:both"
	out := l.mustPull(t, name)
	for _, want := range []string{`"status":"Pulling from team/web","id":"both"`, "Pulling fs layer", "Download complete", "Pull complete", "Digest: " + index.String(), "Status: Downloaded newer image for " + name} {
		if !strings.Contains(out, want) {
			t.Errorf("progress lacks %q:\n%s", want, out)
		}
	}
	img, err := l.images.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if img.ID != amd.ID || !slices.Equal(img.RepoDigests, []string{r.Host() + "/team/web@" + index.String()}) {
		t.Errorf("image %s, %v", img.ID, img.RepoDigests)
	}
	lowers, err := l.images.Lowers(img)
	if err != nil || len(lowers) < 3 {
		t.Fatalf("Lowers = %v, %v", lowers, err)
	}
	found := map[string]bool{}
	for _, dir := range lowers {
		for _, file := range []string{"one", "two"} {
			if got, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				found[file] = bytes.Equal(got, noise(file, len(got)))
			}
		}
	}
	if !found["one"] || !found["two"] {
		t.Errorf("files: %v", found)
	}

	t.Run("unchanged is one HEAD", func(t *testing.T) {
		r.Forget()
		out := l.mustPull(t, name)
		if seen := r.Seen(""); len(seen) != 1 || seen[0].Method != http.MethodHead {
			t.Errorf("requests: %v", seen)
		}
		if !strings.Contains(out, "Status: Image is up to date for "+name) {
			t.Errorf("progress: %s", out)
		}
	})
	t.Run("another platform", func(t *testing.T) {
		var out bytes.Buffer
		if err := l.Pull(t.Context(), name, PullOptions{Platform: "linux/arm64"}, &out); err != nil {
			t.Fatal(err)
		}
		if img, err := l.images.Get(t.Context(), name); err != nil || img.ID != arm.ID {
			t.Errorf("image %v, %v", img, err)
		}
		err := l.Pull(t.Context(), name, PullOptions{Platform: "linux/s390x"}, &out)
		if !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "no matching manifest for linux/s390x in the manifest list entries") {
			t.Errorf("missing platform: %v", err)
		}
	})
	t.Run("by digest", func(t *testing.T) {
		byDigest := r.Host() + "/team/web@" + amd.Manifest.String()
		l.mustPull(t, byDigest)
		if img, err := l.images.Get(t.Context(), byDigest); err != nil || img.ID != amd.ID {
			t.Errorf("image %v, %v", img, err)
		}
	})
	t.Run("all tags", func(t *testing.T) {
		l.mustPull(t, r.Host()+"/team/web")
		for _, tag := range []string{"amd", "arm", "both"} {
			if _, err := l.images.Get(t.Context(), r.Host()+"/team/web:"+tag); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("not there", func(t *testing.T) {
		out, err := l.pull(t, r.Host()+"/team/web:none")
		if !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "manifest for "+r.Host()+"/team/web:none not found: manifest unknown") || out != "" {
			t.Errorf("%v, progress %q", err, out)
		}
	})
}

// TestFaultsOfARegistry: what passes is tried again, from where it was cut.
func TestFaultsOfARegistry(t *testing.T) {
	plain := tarOf(t, "file", 1_000_000)
	blob := hostile.Gzip(t, plain)
	isBlob := func(q *http.Request) bool {
		return strings.Contains(q.URL.Path, digest.FromBytes(blob.Blob).String())
	}
	tests := map[string]struct {
		trick func(r *hostile.Registry) hostile.Trick
		want  string // in the error; empty for success
		most  int64  // bytes of blobs served
		tries int    // requests at most
	}{
		"drops at each tenth": {func(r *hostile.Registry) hostile.Trick {
			return func(w http.ResponseWriter, q *http.Request) bool {
				if isBlob(q) {
					r.Send(w, q, blob.Blob, len(blob.Blob)/10)
				}
				return isBlob(q)
			}
		}, "", int64(len(blob.Blob)) + 4096, 20},
		"knows no ranges": {func(r *hostile.Registry) hostile.Trick {
			var n atomic.Int32
			return func(w http.ResponseWriter, q *http.Request) bool {
				if !isBlob(q) {
					return false
				}
				q.Header.Del("Range")
				if n.Add(1) == 1 {
					r.Send(w, q, blob.Blob, len(blob.Blob)/2)
				}
				r.Send(w, q, blob.Blob, len(blob.Blob))
				return true
			}
		}, "", int64(len(blob.Blob))*2 + 4096, 8},
		"too many requests, then well": {passes(2, http.StatusTooManyRequests), "", 1 << 30, 16},
		"errors of all kinds":          {passes(3, 0), "", 1 << 30, 24},
		"down for good":                {passes(1<<30, http.StatusServiceUnavailable), "503 Service Unavailable", 0, 4},
		"asks for a login for ever": {func(*hostile.Registry) hostile.Trick {
			return func(w http.ResponseWriter, q *http.Request) bool {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
		}, "no basic auth credentials", 0, 2},
		"stalls in a blob": {func(r *hostile.Registry) hostile.Trick {
			return func(w http.ResponseWriter, q *http.Request) bool {
				if !isBlob(q) {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(blob.Blob)))
				_, _ = w.Write(blob.Blob[:100])
				_ = http.NewResponseController(w).Flush()
				<-q.Context().Done()
				return true
			}
		}, "sent nothing for 300ms (after 4 tries in a row)", 0, 10},
		"sends nothing at all": {func(*hostile.Registry) hostile.Trick {
			return func(_ http.ResponseWriter, q *http.Request) bool { <-q.Context().Done(); return true }
		}, "timeout awaiting response headers", 0, 4},
		"wrong range": {func(r *hostile.Registry) hostile.Trick {
			return func(w http.ResponseWriter, q *http.Request) bool {
				if !isBlob(q) {
					return false
				}
				if q.Header.Get("Range") != "" {
					q.Header.Set("Range", "bytes=7-")
				}
				r.Send(w, q, blob.Blob, len(blob.Blob)/2)
				return true
			}
		}, `answers with the range "bytes 7-`, 1 << 30, 10},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := hostile.New(t, "")
			old := r.Add(t, "old", []hostile.Layer{hostile.Gzip(t, tarOf(t, "old", 1000))}, nil)
			r.Add(t, "web", []hostile.Layer{blob}, nil)
			l := newLab(t)
			ref := r.Host() + "/x:tag"
			r.Put("tag", r.Manifests["old"])
			l.mustPull(t, ref)
			r.Put("tag", r.Manifests["web"])
			r.Forget()
			r.Play(test.trick(r))
			_, err := l.pull(t, ref)
			if n := len(r.Seen("/v2/")); n > test.tries {
				t.Errorf("%d requests, more than %d", n, test.tries)
			}
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := r.Served(); got > test.most {
					t.Errorf("%d bytes served, more than %d", got, test.most)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("pull = %v, want %q", err, test.want)
			}
			if img, err := l.images.Get(t.Context(), ref); err != nil || img.ID != old.ID {
				t.Errorf("the old image: %v, %v", img, err)
			}
		})
	}
}

// passes answers each path with errors the first n times.
func passes(n int32, status int) func(*hostile.Registry) hostile.Trick {
	return func(*hostile.Registry) hostile.Trick {
		var seen sync.Map
		return func(w http.ResponseWriter, q *http.Request) bool {
			counter, _ := seen.LoadOrStore(q.URL.Path, new(atomic.Int32))
			k := counter.(*atomic.Int32).Add(1)
			if k > n {
				return false
			}
			s := status
			if s == 0 {
				s = []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}[k%3]
			}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(s)
			return true
		}
	}
}

// TestLies: attack G1. Each ends in one sentence, the old tag stays, and nothing
// of the lie is kept.
func TestLies(t *testing.T) {
	plain := tarOf(t, "file", 50_000)
	good := hostile.Gzip(t, plain)
	other := hostile.Gzip(t, tarOf(t, "other", 50_000))
	add := func(change func(*ocispec.Image, *ocispec.Manifest)) func(*testing.T, *hostile.Registry) {
		return func(t *testing.T, r *hostile.Registry) { r.Add(t, "web", []hostile.Layer{good}, change) }
	}
	wrongBlob := digest.FromBytes(good.Blob)
	tests := map[string]struct {
		set  func(*testing.T, *hostile.Registry)
		want []string
	}{
		"blob is another": {func(t *testing.T, r *hostile.Registry) {
			add(nil)(t, r)
			changed := bytes.Clone(good.Blob)
			changed[len(changed)/2] ^= 1
			r.Blobs[wrongBlob] = changed
		}, []string{"layer verification failed", wrongBlob.String(), "got sha256:"}},
		"blob is shorter": {func(t *testing.T, r *hostile.Registry) {
			add(nil)(t, r)
			r.Blobs[wrongBlob] = good.Blob[:1000]
		}, []string{"answers with 1000 bytes", fmt.Sprint(len(good.Blob))}},
		"blob is longer": {func(t *testing.T, r *hostile.Registry) {
			add(nil)(t, r)
			r.Blobs[wrongBlob] = append(bytes.Clone(good.Blob), 0)
		}, []string{"bytes for blob", "announced with"}},
		"size":          {add(func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers[0].Size -= 10 }), []string{"announced with"}},
		"negative size": {add(func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers[0].Size = -1 }), []string{"has -1 bytes"}},
		"diffID": {add(func(cfg *ocispec.Image, _ *ocispec.Manifest) { cfg.RootFS.DiffIDs[0] = digest.FromString("x") }),
			[]string{"does not have the diffID", digest.FromString("x").String(), digest.FromBytes(plain).String()}},
		"one diffID too many": {add(func(cfg *ocispec.Image, _ *ocispec.Manifest) {
			cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromString("x"))
		}), []string{"names 2 layers and its manifest 1"}},
		"diffID is a path": {add(func(cfg *ocispec.Image, _ *ocispec.Manifest) { cfg.RootFS.DiffIDs[0] = "sha256:../../x" }), []string{"not a sha256 digest"}},
		"digest is a path": {add(func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers[0].Digest = "sha256:../../../etc/passwd" }), []string{"not a sha256 digest"}},
		"config of another": {add(func(_ *ocispec.Image, m *ocispec.Manifest) {
			m.Config.Digest, m.Config.Size = digest.FromBytes(good.Blob), int64(len(good.Blob))
		}), []string{"config is not valid"}},
		"type of a layer": {add(func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers[0].MediaType = "text/html" }), []string{`"text/html", which Sampan cannot unpack`}},
		"an artifact": {add(func(_ *ocispec.Image, m *ocispec.Manifest) {
			m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
		}), []string{"artifact", "helm"}},
		"no layers": {add(func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers = nil }), []string{"has 0 layers"}},
		"windows":   {add(func(cfg *ocispec.Image, _ *ocispec.Manifest) { cfg.OS = "windows" }), []string{"operating system"}},
		"manifest's digest": {func(t *testing.T, r *hostile.Registry) {
			add(nil)(t, r)
			m := r.Manifests["web"]
			r.Play(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.Contains(q.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", m.MediaType)
				w.Header().Set("Docker-Content-Digest", digest.FromString("else").String())
				_, _ = w.Write(m.Raw)
				return true
			})
		}, []string{"manifest verification failed", digest.FromString("else").String()}},
		"content type flips": {func(t *testing.T, r *hostile.Registry) {
			add(nil)(t, r)
			r.Put("web", hostile.Manifest{MediaType: ocispec.MediaTypeImageIndex, Raw: r.Manifests["web"].Raw})
		}, []string{"refused"}},
		"index and manifest at once": {func(t *testing.T, r *hostile.Registry) {
			add(nil)(t, r)
			raw := bytes.Replace(r.Manifests["web"].Raw, []byte(`{"schemaVersion":2,`), []byte(`{"schemaVersion":2,"manifests":[],`), 1)
			r.Put("web", hostile.Manifest{MediaType: ocispec.MediaTypeImageManifest, Raw: raw})
		}, []string{"both an index and a manifest"}},
		"schema 1": {func(_ *testing.T, r *hostile.Registry) {
			r.Put("web", hostile.Manifest{MediaType: "application/vnd.docker.distribution.manifest.v1+prettyjws", Raw: []byte(`{"schemaVersion":1,"fsLayers":[]}`)})
		}, []string{"schema 1"}},
		"entry's size": {func(t *testing.T, r *hostile.Registry) {
			img := r.Add(t, "one", []hostile.Layer{good}, nil)
			entry := img.Entry(&ocispec.Platform{OS: "linux", Architecture: "amd64"})
			entry.Size--
			r.Index(t, "web", entry)
		}, []string{"its index says"}},
		"endless nesting": {func(t *testing.T, r *hostile.Registry) {
			img := r.Add(t, "one", []hostile.Layer{good}, nil)
			entry := img.Entry(nil)
			for range 20 {
				d := r.Index(t, "web", entry)
				entry = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d, Size: int64(len(r.Manifests[d.String()].Raw))}
			}
		}, []string{"nested more than"}},
		"endless manifest": {func(_ *testing.T, r *hostile.Registry) {
			r.Play(func(w http.ResponseWriter, q *http.Request) bool {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				for q.Method == http.MethodGet {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						break
					}
				}
				return true
			})
		}, []string{"larger than the limit"}},
		"bomb": {func(t *testing.T, r *hostile.Registry) {
			bomb := hostile.Layer{Plain: nil, Blob: hostile.Gzip(t, make([]byte, 64<<20)).Blob, MediaType: ocispec.MediaTypeImageLayerGzip}
			r.Add(t, "web", []hostile.Layer{bomb}, nil)
		}, []string{"diffID"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := hostile.New(t, "")
			test.set(t, r)
			l := newLab(t)
			began := time.Now()
			_, err := l.pull(t, r.Host()+"/x:web")
			if err == nil {
				t.Fatal("the lie was believed")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("pull = %v, want %q", err, want)
				}
			}
			if strings.Count(err.Error(), "\n") > 0 || time.Since(began) > 30*time.Second {
				t.Errorf("not one sentence, or after %v: %v", time.Since(began), err)
			}
			l.clean(t)
			// The truth is still welcome.
			r.Play(nil)
			r.Add(t, "web", []hostile.Layer{good, other}, nil)
			l.mustPull(t, r.Host()+"/x:web")
		})
	}
}

// TestContinuesAfterRestart: a pull that was cut off goes on with the bytes that it
// has, also in another process.
func TestContinuesAfterRestart(t *testing.T) {
	blob := hostile.Gzip(t, tarOf(t, "file", 2_000_000))
	r := hostile.New(t, "")
	img := r.Add(t, "web", []hostile.Layer{blob}, nil)
	isBlob := func(q *http.Request) bool { return strings.Contains(q.URL.Path, img.Layers[0].Digest.String()) }
	ctx, cancel := context.WithCancel(t.Context())
	half := len(blob.Blob) / 2
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if !isBlob(q) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob.Blob)))
		_, _ = w.Write(blob.Blob[:half])
		_ = http.NewResponseController(w).Flush()
		time.Sleep(100 * time.Millisecond)
		cancel()
		<-q.Context().Done()
		return true
	})
	root := t.TempDir()
	first := open(t, root, &hosts.Config{})
	if err := first.Pull(ctx, r.Host()+"/x:web", PullOptions{}, &bytes.Buffer{}); err == nil {
		t.Fatal("a cancelled pull succeeded")
	}
	first.clean(t)
	r.Play(nil)
	r.Forget()
	first.mustPull(t, r.Host()+"/x:web")
	seen := r.Seen("/blobs/" + img.Layers[0].Digest.String())
	if len(seen) != 1 || seen[0].Range == "" || r.Served() > int64(len(blob.Blob)-half/2) {
		t.Errorf("requests %v, %d bytes of %d", seen, r.Served(), len(blob.Blob))
	}
}

// TestDamagedBeginning: what was kept may be wrong; then the blob comes anew.
func TestDamagedBeginning(t *testing.T) {
	blob := hostile.Gzip(t, tarOf(t, "file", 100_000))
	r := hostile.New(t, "")
	img := r.Add(t, "web", []hostile.Layer{blob}, nil)
	l := newLab(t)
	w, err := l.images.Blobs().Begin(t.Context(), img.Layers[0].Digest, img.Layers[0].Size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l.mustPull(t, r.Host()+"/x:web")
}

// TestPullsShareLayers: each blob comes once, however many want it.
func TestPullsShareLayers(t *testing.T) {
	r := hostile.New(t, "")
	base, shared := hostile.Gzip(t, tarOf(t, "base", 400_000)), hostile.Gzip(t, tarOf(t, "shared", 300_000))
	for i := range 4 {
		r.Add(t, fmt.Sprint("v", i), []hostile.Layer{base, shared, hostile.Gzip(t, tarOf(t, fmt.Sprint("own", i), 10_000))}, nil)
	}
	l := newLab(t)
	errs := make(chan error)
	for i := range 4 {
		go func() {
			_, err := l.pull(t, fmt.Sprintf("%s/x:v%d", r.Host(), i))
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	count := map[string]int{}
	for _, q := range r.Seen("/blobs/") {
		count[q.Path]++
	}
	for _, b := range []hostile.Layer{base, shared} {
		if n := count["/v2/x/blobs/"+digest.FromBytes(b.Blob).String()]; n != 1 {
			t.Errorf("a shared blob came %d times", n)
		}
	}
	// Deleting gives everything back.
	for i := range 4 {
		if _, err := l.images.Delete(t.Context(), fmt.Sprintf("%s/x:v%d", r.Host(), i), true, true); err != nil {
			t.Error(err)
		}
	}
	l.clean(t)
}

// TestMirrors: in order, without the login, and the registry itself last.
func TestMirrors(t *testing.T) {
	down, empty, full, origin := hostile.New(t, ""), hostile.New(t, ""), hostile.New(t, ""), hostile.New(t, "")
	down.Play(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	layers := []hostile.Layer{hostile.Gzip(t, tarOf(t, "file", 1000))}
	img := full.Add(t, "v1", layers, nil)
	origin.Add(t, "v1", layers, nil)
	later := origin.Add(t, "v2", []hostile.Layer{hostile.Gzip(t, tarOf(t, "later", 1000))}, nil)
	cfg := &hosts.Config{Registries: map[string]hosts.Registry{origin.Host(): {Mirrors: []string{down.URL(), empty.URL() + "/cache/of", full.URL()}}}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	l := open(t, t.TempDir(), cfg)
	login := auth.Credentials{Username: "user", Password: "secret"}
	for tag, want := range map[string]digest.Digest{"v1": img.ID, "v2": later.ID} {
		name := origin.Host() + "/x:" + tag
		if err := l.Pull(t.Context(), name, PullOptions{Platform: "linux/amd64", Login: login}, &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		if got, err := l.images.Get(t.Context(), name); err != nil || got.ID != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if seen := empty.Seen("/v2/cache/of/x/manifests/v1"); len(seen) != 1 {
		t.Errorf("the second mirror was asked %v", empty.Seen(""))
	}
	if seen := origin.Seen("v1"); len(seen) != 0 {
		t.Errorf("the registry was asked though a mirror had it: %v", seen)
	}
	for _, m := range []*hostile.Registry{down, empty, full} {
		for _, q := range m.Seen("") {
			if q.Authorization != "" {
				t.Errorf("a mirror got a login: %+v", q)
			}
		}
	}
}

// TestPushWhatWasPulled: the same digests in the end, existing blobs are not sent,
// and a broken upload goes on.
func TestPushWhatWasPulled(t *testing.T) {
	from, to := hostile.New(t, ""), hostile.New(t, "")
	img := from.Add(t, "v1", []hostile.Layer{hostile.Gzip(t, tarOf(t, "one", 700_000)), hostile.Zstd(t, tarOf(t, "two", 9000))}, nil)
	l := newLab(t)
	l.mustPull(t, from.Host()+"/x:v1")
	name := to.Host() + "/team/y"
	if err := l.images.Tag(t.Context(), from.Host()+"/x:v1", name, "v2"); err != nil {
		t.Fatal(err)
	}
	var cut atomic.Bool
	to.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/uploads/") && q.ContentLength > 100_000 && cut.CompareAndSwap(false, true) {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	var out bytes.Buffer
	if err := l.Push(t.Context(), name, PushOptions{Tag: "v2"}, &out); err != nil {
		t.Fatal(err)
	}
	if !cut.Load() {
		t.Error("no upload was cut")
	}
	if got := to.Manifests["v2"]; digest.FromBytes(got.Raw) != img.Manifest || got.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("pushed manifest: %s %s", got.MediaType, got.Raw)
	}
	for _, b := range append(img.Layers, img.Config) {
		if digest.FromBytes(to.Blobs[b.Digest]) != b.Digest {
			t.Errorf("blob %s is not there", b.Digest)
		}
	}
	for _, want := range []string{"The push refers to repository [" + name + "]", "Pushed", "v2: digest: " + img.Manifest.String() + " size: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("progress lacks %q:\n%s", want, out.String())
		}
	}
	if got, err := l.images.Get(t.Context(), name+"@"+img.Manifest.String()); err != nil || got.ID != img.ID {
		t.Errorf("name@digest after the push: %v, %v", got, err)
	}
	to.Forget()
	out.Reset()
	if err := l.Push(t.Context(), name, PushOptions{Tag: "v2"}, &out); err != nil {
		t.Fatal(err)
	}
	if seen := to.Seen("/uploads/"); len(seen) != 0 || !strings.Contains(out.String(), "Layer already exists") {
		t.Errorf("pushed again: %v\n%s", seen, out.String())
	}
	// Another repository of the same registry takes the layers over.
	if err := l.images.Tag(t.Context(), name+":v2", to.Host()+"/team/z", "v1"); err != nil {
		t.Fatal(err)
	}
	to.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodHead && strings.Contains(q.URL.Path, "/team/z/blobs/") {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	out.Reset()
	if err := l.Push(t.Context(), to.Host()+"/team/z", PushOptions{Tag: "v1"}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Mounted from team/y") {
		t.Errorf("nothing was mounted:\n%s", out.String())
	}
	if err := l.Push(t.Context(), to.Host()+"/team/none", PushOptions{Tag: "v1"}, &out); !errors.Is(err, fault.NotFound) {
		t.Errorf("push of nothing = %v", err)
	}
}

// TestPullsRemovalsAndPrune run beside each other: no error but "no such image",
// and what is there is whole.
func TestPullsRemovalsAndPrune(t *testing.T) {
	r := hostile.New(t, "")
	base := hostile.Gzip(t, tarOf(t, "base", 60_000))
	for i := range 4 {
		r.Add(t, fmt.Sprint("v", i), []hostile.Layer{base, hostile.Gzip(t, tarOf(t, fmt.Sprint("own", i%2), 30_000)), hostile.Gzip(t, tarOf(t, fmt.Sprint("top", i), 5_000))}, nil)
	}
	l := newLab(t)
	name := func(i int) string { return fmt.Sprintf("%s/x:v%d", r.Host(), i) }
	var work sync.WaitGroup
	rounds := counts.Of("pull.storm")
	harmless := func(err error) bool {
		return err == nil || errors.Is(err, fault.NotFound) || errors.Is(err, fault.Conflict)
	}
	for i := range 4 {
		work.Go(func() {
			for range rounds {
				if _, err := l.pull(t, name(i)); err != nil {
					t.Errorf("pull: %v", err)
				}
			}
		})
	}
	for i := range 2 {
		work.Go(func() {
			for range rounds {
				if _, err := l.images.Delete(t.Context(), name(i), true, true); !harmless(err) {
					t.Errorf("rmi: %v", err)
				}
			}
		})
	}
	work.Go(func() {
		for range rounds {
			if _, err := l.images.Prune(t.Context(), image.PruneOptions{Unused: true}); !harmless(err) {
				t.Errorf("prune: %v", err)
			}
		}
	})
	work.Wait()
	for i := range 4 {
		l.mustPull(t, name(i))
		img, err := l.images.Get(t.Context(), name(i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.images.Lowers(img); err != nil {
			t.Error(err)
		}
		for _, d := range img.Config.RootFS.DiffIDs {
			if err := l.images.Layers().Verify(t.Context(), d); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCloseCutsPullsOff: the daemon's end waits for no registry.
func TestCloseCutsPullsOff(t *testing.T) {
	r := hostile.New(t, "")
	blob := hostile.Gzip(t, tarOf(t, "file", 500_000))
	r.Add(t, "web", []hostile.Layer{blob}, nil)
	begun := make(chan struct{})
	var once sync.Once
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, digest.FromBytes(blob.Blob).String()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob.Blob)))
		_, _ = w.Write(blob.Blob[:1000])
		_ = http.NewResponseController(w).Flush()
		once.Do(func() { close(begun) })
		<-q.Context().Done()
		return true
	})
	l := newLab(t)
	ended := make(chan error, 1)
	go func() {
		_, err := l.pull(t, r.Host()+"/x:web")
		ended <- err
	}()
	<-begun
	l.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a pull that was cut off succeeded")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the pull goes on after Close")
	}
	l.clean(t)
}
