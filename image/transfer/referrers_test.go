package transfer

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/test/hostile"
)

// What refers to a tag is asked for by the digest behind it, and a registry's list is
// not believed where it names what is no digest.
func TestReferrersOfATag(t *testing.T) {
	l := newLab(t)
	r := hostile.New(t, "")
	img := r.Add(t, "1", []hostile.Layer{hostile.Gzip(t, tarOf(t, "one", 100))}, nil)
	list := fmt.Sprintf(`{"manifests":[{"digest":%q,"size":7,"artifactType":"signature"},{"digest":%q,"size":8,"artifactType":"sbom"}]}`, digest.FromString("a"), digest.FromString("b"))
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, "/referrers/"+img.Manifest.String()) {
			return false
		}
		_, _ = fmt.Fprint(w, list)
		return true
	})
	for artifact, want := range map[string]int{"": 2, "sbom": 1, "none": 0} {
		got, err := l.Referrers(t.Context(), r.Host()+"/web:1", ReferrersOptions{ArtifactType: artifact})
		if err != nil || len(got.Referrers) != want || got.Subject != img.Manifest {
			t.Errorf("of type %q: %+v, %v", artifact, got, err)
		}
	}
	if _, err := l.Referrers(t.Context(), r.Host()+"/web:none", ReferrersOptions{}); fault.Of(err) != fault.NotFound {
		t.Errorf("of a tag that is not there: %v", err)
	}
	list = `{"manifests":[{"digest":"../../etc","size":7}]}`
	if got, err := l.Referrers(t.Context(), r.Host()+"/web:1", ReferrersOptions{}); fault.Of(err) != fault.Invalid {
		t.Errorf("a list of nonsense: %+v, %v", got, err)
	}
}
