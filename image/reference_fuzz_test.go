package image

import (
	"errors"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func FuzzReference(f *testing.F) {
	for _, seed := range []string{"web", "docker.io/library/web:1", "a@sha256:" + strings.Repeat("a", 64), "sha256:ab", "../x", "host:5000/a/b:c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		if target, err := parseTarget(ref); err == nil && (target.name == nil) == (target.id == "") {
			t.Errorf("%q is neither a name nor an ID, or both: %+v", ref, target)
		}
		for _, parse := range []func() error{
			func() error { _, err := ParseName(ref, ""); return err },
			func() error { _, err := ParsePull(ref, ""); return err },
			func() error { _, err := parsePlatform(ref); return err },
		} {
			if err := parse(); err != nil && !errors.Is(err, fault.Invalid) {
				t.Errorf("%q: class of %v is %v", ref, err, fault.Of(err))
			}
		}
	})
}
