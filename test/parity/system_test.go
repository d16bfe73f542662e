package parity

import (
	"fmt"
	"testing"
)

// versions are the API versions that are compared: the oldest, two in between
// and the newest that dockerd 20.10 has.
var versions = []string{"1.24", "1.30", "1.40", "1.41"}

func compareSystem(t *testing.T, p *pair) {
	for _, v := range versions {
		p.get(t, "version", "/v"+v+"/version")
		p.get(t, "info", "/v"+v+"/info")
	}
	ours, theirs := p.must(t, "version", "--format", "{{json .Client}}")
	if ours != theirs {
		t.Errorf("docker version: the client says %s and %s", ours, theirs)
	}
	for _, path := range []string{"/_ping", "/v1.24/_ping"} {
		for _, method := range []string{"GET", "HEAD"} {
			a, b := p.both(t, func(e *engine) any { return e.request(t, method, path, "") })
			if a != b {
				t.Errorf("%s %s: %s answers %v, %s %v", method, path, p.ours.name, a, p.theirs.name, b)
			}
		}
	}
}

func compareNetworks(t *testing.T, p *pair) {
	for _, name := range []string{"bridge", "host", "none"} {
		for _, v := range versions {
			p.get(t, "network", fmt.Sprintf("/v%s/networks/%s", v, name))
		}
	}
	ours, theirs := p.must(t, "network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}} {{.Labels}}")
	if ours != theirs {
		t.Errorf("network ls: %s\n%s", ours, theirs)
	}
}
