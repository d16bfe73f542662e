package client

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/registry/hosts"
	"github.com/sampan-containers/sampan/test/hostile"
)

// What refers to a manifest is found by the API of OCI 1.1, or by the tag that
// stands for it with older registries.
func TestReferrers(t *testing.T) {
	d := digest.FromString("subject")
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":1,"artifactType":"signature"}]}`,
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, digest.FromString("signature"))
	for name, tt := range map[string]struct {
		path, answer string
		want         int
		fails        bool
	}{
		"API":       {"/referrers/" + d.String(), index, 1, false},
		"tag":       {"/manifests/sha256-" + d.Encoded(), index, 1, false},
		"none":      {"/nowhere", index, 0, false},
		"not JSON":  {"/referrers/", "x", 0, true},
		"too large": {"/referrers/", strings.Repeat(" ", MaxManifest+1), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := hostile.New(t, "")
			r.Play(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.Contains(q.URL.Path, tt.path) {
					w.WriteHeader(http.StatusNotFound)
					return true
				}
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				_, _ = io.WriteString(w, tt.answer)
				return true
			})
			c := New(&hosts.Config{}, fast(), "")
			t.Cleanup(c.Close)
			got, err := origin(t, c, r.Host()+"/web").Referrers(t.Context(), d)
			if len(got) != tt.want || (err != nil) != tt.fails {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestReferrersInPages(t *testing.T) {
	d := digest.FromString("subject")
	r := hostile.New(t, "")
	endless := false
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		page := q.URL.Query().Get("page")
		if page == "" || endless {
			w.Header().Set("Link", `<`+q.URL.Path+`?page=2>; rel="next"`)
		}
		fmt.Fprintf(w, `{"manifests":[{"digest":%q,"size":1}]}`, digest.FromString("referrer"+page))
		return true
	})
	c := New(&hosts.Config{}, fast(), "")
	t.Cleanup(c.Close)
	got, err := origin(t, c, r.Host()+"/web").Referrers(t.Context(), d)
	if err != nil || len(got) != 2 || got[1].Digest != digest.FromString("referrer2") {
		t.Errorf("two pages: %v, %v", got, err)
	}
	endless = true
	if _, err := origin(t, c, r.Host()+"/web").Referrers(t.Context(), d); err == nil {
		t.Error("a list without an end was believed")
	}
}
