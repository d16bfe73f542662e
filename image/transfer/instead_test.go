package transfer

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/test/hostile"
)

// A push of one platform out of an index says so, and that of a whole image does not.
func TestPushTellsOfPlatformsThatStayBehind(t *testing.T) {
	l := newLab(t)
	from, to := hostile.New(t, ""), hostile.New(t, "")
	one := from.Add(t, "amd64", []hostile.Layer{hostile.Gzip(t, tarOf(t, "one", 100))}, nil)
	other := from.Add(t, "arm64", []hostile.Layer{hostile.Gzip(t, tarOf(t, "other", 100))}, func(cfg *ocispec.Image, _ *ocispec.Manifest) { cfg.Architecture = "arm64" })
	index := from.Index(t, "both", one.Entry(&ocispec.Platform{OS: "linux", Architecture: "amd64"}), other.Entry(&ocispec.Platform{OS: "linux", Architecture: "arm64"}))
	for tag, told := range map[string]bool{"both": true, "amd64": false} {
		l := l
		if tag == "amd64" {
			l = newLab(t)
		}
		l.mustPull(t, from.Host()+"/web:"+tag)
		img, err := l.images.Get(t.Context(), from.Host()+"/web:"+tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.images.Tag(t.Context(), img.ID.String(), to.Host()+"/copy", tag); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := l.Push(t.Context(), to.Host()+"/copy", PushOptions{Tag: tag}, &out); err != nil {
			t.Fatal(err)
		}
		says := strings.Contains(out.String(), `"manifestPushedInsteadOfIndex":true`) && strings.Contains(out.String(), index.String()) && strings.Contains(out.String(), one.Manifest.String())
		if says != told {
			t.Errorf("push of %s: %s", tag, out.String())
		}
	}
}

// TestPushOfAWholeIndex: when all platforms of an index are here, it leaves with its
// own digest; with --platform one of them does.
func TestPushOfAWholeIndex(t *testing.T) {
	l := newLab(t)
	from, to := hostile.New(t, ""), hostile.New(t, "")
	one := from.Add(t, "amd64", []hostile.Layer{hostile.Gzip(t, tarOf(t, "one", 100))}, nil)
	other := from.Add(t, "arm64", []hostile.Layer{hostile.Zstd(t, tarOf(t, "other", 100))}, func(cfg *ocispec.Image, _ *ocispec.Manifest) { cfg.Architecture = "arm64" })
	both := from.Index(t, "both", one.Entry(&ocispec.Platform{OS: "linux", Architecture: "amd64"}), other.Entry(&ocispec.Platform{OS: "linux", Architecture: "arm64"}))
	name, copied := from.Host()+"/web:both", to.Host()+"/copy"
	l.mustPull(t, name)
	if err := l.Pull(t.Context(), name, PullOptions{Platform: "linux/arm64"}, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	img, err := l.images.Get(t.Context(), name)
	if err != nil || img.Config.Architecture != "arm64" {
		t.Fatalf("the tag stands for %+v, %v", img, err)
	}
	for tag, platform := range map[string]string{"whole": "", "alone": "", "arm": "linux/arm64", "amd": "linux/amd64"} {
		if err := l.images.Tag(t.Context(), name, copied, tag); err != nil {
			t.Fatal(err)
		}
		want := map[string]digest.Digest{"whole": both, "alone": other.Manifest, "arm": other.Manifest, "amd": one.Manifest}[tag]
		var out bytes.Buffer
		if err := l.Push(t.Context(), copied, PushOptions{Tag: tag, Platform: platform, Alone: tag == "alone"}, &out); err != nil {
			t.Fatal(err)
		}
		if got := digest.FromBytes(to.Manifests[tag].Raw); got != want || !strings.Contains(out.String(), tag+": digest: "+want.String()) {
			t.Errorf("%s: the registry has %s, not %s\n%s", tag, got, want, out.String())
		}
		if strings.Contains(out.String(), "manifestPushedInsteadOfIndex") != (tag == "alone") { // the others are what was asked for
			t.Errorf("%s: %s", tag, out.String())
		}
	}
	for _, d := range []digest.Digest{one.Manifest, other.Manifest} {
		if got := to.Manifests[d.String()]; digest.FromBytes(got.Raw) != d {
			t.Errorf("image %s of the index is not there", d)
		}
	}
	err = l.Push(t.Context(), copied, PushOptions{Tag: "whole", Platform: "linux/s390x"}, new(bytes.Buffer))
	if !errors.Is(err, fault.NotFound) {
		t.Errorf("push of a platform that is not here = %v", err)
	}
	// A new place gets the platforms and the index from an image that was pulled there.
	m := newLab(t)
	if err := m.Pull(t.Context(), copied+":whole", PullOptions{Platform: "linux/amd64"}, new(bytes.Buffer)); err != nil {
		t.Errorf("pull of the copy: %v", err)
	}
}
