package example

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime/speccheck"
)

func TestSpecsAreValid(t *testing.T) {
	if err := speccheck.Check(Spec(true)); err != nil {
		t.Error(err)
	}
	s := Spec(true)
	Rootless(s, 1000, 1001)
	if err := speccheck.Check(s); err != nil {
		t.Error(err)
	}
	if s.Linux.UIDMappings[0].HostID != 1000 || s.Linux.GIDMappings[0].HostID != 1001 || s.Linux.Resources != nil {
		t.Errorf("%+v", s.Linux)
	}
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			t.Error("a user would get a network without a way out")
		}
	}
	for _, m := range s.Mounts {
		for _, o := range m.Options {
			if strings.HasPrefix(o, "gid=") {
				t.Errorf("%s has %s, which is not mapped", m.Destination, o)
			}
		}
	}
}
