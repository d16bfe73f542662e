package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The features of --feature and of "features" in daemon.json. Those that Sampan has
// or lacks as a whole are taken with the value that is true here, so that a
// daemon.json of Docker's goes on to work.
const (
	featureBuildKit = "buildkit" // what clients are told to build with
	featureCDI      = "cdi"
	featureStore    = "containerd-snapshotter"
)

// features are the switched ones, by name.
type features map[string]bool

// readFeatures reads NAME=true and NAME=false; NAME alone is true.
func readFeatures(texts []string) (features, error) {
	f := features{}
	for _, text := range texts {
		name, value, given := strings.Cut(text, "=")
		on := true
		if given {
			var err error
			if on, err = strconv.ParseBool(value); err != nil {
				return nil, fmt.Errorf("--feature %s: want %s=true or %s=false", text, name, name)
			}
		}
		switch {
		case name == featureStore && on:
			return nil, fmt.Errorf("--feature %s: Sampan keeps images in a store of its own, in which they keep their digests; leave the feature out", name)
		case name == featureBuildKit, name == featureCDI, name == featureStore:
			f[name] = on
		default:
			return nil, fmt.Errorf("--feature %s: there is no feature of that name (known are %s, %s and %s)", name, featureBuildKit, featureCDI, featureStore)
		}
	}
	return f, nil
}

// off tells whether a feature was switched off.
func (f features) off(name string) bool {
	on, given := f[name]
	return given && !on
}

// String is what the event of a reload says.
func (f features) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		parts = append(parts, name+":"+strconv.FormatBool(f[name]))
	}
	return "map[" + strings.Join(parts, " ") + "]"
}
