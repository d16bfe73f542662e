package transfer

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/test/hostile"
)

// TestPushWhatWasNotKept pulls without keeping compressed layers: they are on no
// disk, and a push gives the same digests as long as the source has them.
func TestPushWhatWasNotKept(t *testing.T) {
	from, to := hostile.New(t, ""), hostile.New(t, "")
	one, two := tarOf(t, "one", 700_000), tarOf(t, "two", 9000)
	img := from.Add(t, "v1", []hostile.Layer{hostile.Gzip(t, one), hostile.Zstd(t, two)}, nil)
	l := newLab(t)
	l.dropBlobs = true
	l.mustPull(t, from.Host()+"/x:v1")
	for _, b := range img.Layers {
		if l.images.Blobs().Has(b.Digest) {
			t.Errorf("blob %s was kept", b.Digest)
		}
	}
	if n, err := l.images.Blobs().Unfinished(); n != 0 || err != nil {
		t.Errorf("%d bytes of unfinished blobs are left, %v", n, err)
	}
	push := func(tag string) {
		t.Helper()
		if err := l.images.Tag(t.Context(), from.Host()+"/x:v1", to.Host()+"/y", tag); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := l.Push(t.Context(), to.Host()+"/y", PushOptions{Tag: tag}, &out); err != nil {
			t.Fatal(err)
		}
	}
	push("same")
	if got := digest.FromBytes(to.Manifests["same"].Raw); got != img.Manifest {
		t.Errorf("the pushed manifest is %s, not %s", got, img.Manifest)
	}
	for _, b := range img.Layers {
		if digest.FromBytes(to.Blobs[b.Digest]) != b.Digest {
			t.Errorf("blob %s was not passed on", b.Digest)
		}
		if l.images.Blobs().Has(b.Digest) {
			t.Errorf("blob %s is kept after the push", b.Digest)
		}
		delete(to.Blobs, b.Digest)
	}
	// A source that gives other bytes spoils nothing.
	wrong := bytes.Clone(from.Blobs[img.Layers[0].Digest])
	wrong[len(wrong)/2] ^= 1
	from.Blobs[img.Layers[0].Digest] = wrong
	push("spoilt")
	if to.Blobs[img.Layers[0].Digest] != nil {
		t.Error("a wrong blob was passed on")
	}
	pullBack(t, to.Host()+"/y:spoilt", one, two)
	// Nor one that has nothing any more.
	from.Play(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNotFound)
		return true
	})
	for _, b := range img.Layers {
		delete(to.Blobs, b.Digest)
	}
	push("packed")
	pullBack(t, to.Host()+"/y:packed", one, two)
	// The record goes with the image.
	if _, err := l.images.Delete(t.Context(), img.ID.String(), true, true); err != nil {
		t.Fatal(err)
	}
	if list, err := l.images.DroppedBlobs(digest.FromBytes(one)); len(list) != 0 || err != nil {
		t.Errorf("of a removed layer %v is known, %v", list, err)
	}
	l.images.Wait()
	l.clean(t)
}

// pullBack pulls what was pushed and compares its layers.
func pullBack(t *testing.T, name string, layers ...[]byte) {
	t.Helper()
	l := newLab(t)
	l.mustPull(t, name)
	img, err := l.images.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for i, plain := range layers {
		if got := img.Config.RootFS.DiffIDs[i]; got != digest.FromBytes(plain) {
			t.Errorf("layer %d is %s, not %s", i, got, digest.FromBytes(plain))
		}
	}
}

func TestOneBlobForTwoLayers(t *testing.T) {
	r := hostile.New(t, "")
	one, two := hostile.Gzip(t, tarOf(t, "one", 3000)), hostile.Gzip(t, tarOf(t, "two", 3000))
	r.Add(t, "v1", []hostile.Layer{one, two}, func(_ *ocispec.Image, m *ocispec.Manifest) { m.Layers[1] = m.Layers[0] })
	l := newLab(t)
	_, err := l.pull(t, r.Host()+"/x:v1")
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "two different things") {
		t.Errorf("pull = %v", err)
	}
	l.clean(t)
}
