package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sampan-containers/sampan/test/bench/corpus"
)

// registryStorage is kept between runs: the images are the same in each, and take
// half a minute to make. The name changes with their content.
const registryStorage = ".cache/bench-registry-3"

// fillRegistry makes the images and copies them into the registry that all engines
// pull from, unless they are there.
func fillRegistry(dir string, s *shipper) error {
	done := registryStorage + "/filled"
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	debian, err := os.ReadFile(".cache/debian-nginx.tar")
	if err != nil {
		return fmt.Errorf("%w (make it with test/debian.sh)", err)
	}
	for name, layers := range map[string]func(int) ([]byte, error){
		bigImage: corpus.Big.Layers(), zstdImage: corpus.Big.Layers(), thinImage: corpus.Thin.Layers(),
		debianImage: func(i int) ([]byte, error) { return [][]byte{debian, nil}[min(i, 1)], nil },
	} {
		layout := filepath.Join(dir, "layout")
		if err := corpus.Layout(layout, layers, name == zstdImage); err != nil {
			return err
		}
		// Else skopeo takes a layer that the registry has in the other compression.
		if out, err := s.in("skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout+":latest", "docker://"+name).CombinedOutput(); err != nil {
			return fmt.Errorf("skopeo: %w: %s", err, tail(string(out), 3))
		}
		if err := os.RemoveAll(layout); err != nil {
			return err
		}
	}
	return os.WriteFile(done, nil, 0o600)
}
