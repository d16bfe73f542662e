package transfer

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
)

// choose picks the manifest of an index for a platform: the one that names it
// best, then one that runs there as well, and last one that names no platform.
func choose(list []ocispec.Descriptor, want ocispec.Platform) (ocispec.Descriptor, error) {
	best, found := -1, 0
	for i, d := range list {
		if d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
			continue
		}
		if n := fits(d.Platform, want); n > found {
			best, found = i, n
		}
	}
	if best < 0 {
		return ocispec.Descriptor{}, fault.New(fault.NotFound, "no matching manifest for %s in the manifest list entries", platformText(want))
	}
	return list[best], nil
}

// fits grades how well a platform suits; 0 is not at all.
func fits(have *ocispec.Platform, want ocispec.Platform) int {
	const nameless, exact = 1, 100
	if have == nil {
		return nameless
	}
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return 0
	}
	h, w := variant(have.Architecture, have.Variant), variant(want.Architecture, want.Variant)
	switch {
	case h == w:
		return exact
	case want.Architecture == "arm" && h < w: // v7 runs v6 and v5
		return exact - int(w[len(w)-1]-h[len(h)-1])
	case want.Architecture == "amd64" && h < w: // v3 runs v2 and v1
		return exact - int(w[len(w)-1]-h[len(h)-1])
	}
	return 0
}

// variant fills in what is meant when none is named.
func variant(architecture, text string) string {
	if text != "" && text[0] != 'v' {
		text = "v" + text
	}
	if text != "" {
		return text
	}
	switch architecture {
	case "arm":
		return "v7"
	case "arm64":
		return "v8"
	case "amd64":
		return "v1"
	}
	return ""
}

func platformText(p ocispec.Platform) string {
	return strings.TrimSuffix(strings.Join([]string{p.OS, p.Architecture, p.Variant}, "/"), "/")
}
