package transfer

import (
	"bytes"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
