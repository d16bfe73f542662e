package rootview

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/treecopy"
)

// Copy copies what the layers, top first, have at target into dir, an empty
// directory on the host. Layers without target copy nothing.
func Copy(ctx context.Context, layers []string, target, dir string) error {
	if !hasPath(layers, target) {
		return nil
	}
	root, err := Open(layers)
	if err != nil {
		return err
	}
	defer root.Close()
	from, err := root.Sub(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copy %s of the image into the volume: %w", target, err)
	}
	defer from.Close()
	to, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := treecopy.Copy(ctx, from, to); err != nil {
		return fmt.Errorf("copy %s of the image into the volume: %w", target, err)
	}
	return nil
}

// hasPath tells cheaply that no layer can have the path; true may be wrong where
// links are involved.
func hasPath(lowers []string, p string) bool {
	for _, l := range lowers {
		// The first component decides: resolving further could follow a link.
		if _, err := os.Lstat(path.Join(l, firstComponent(p))); err == nil {
			return true
		}
	}
	return false
}

func firstComponent(p string) string {
	p = path.Clean("/" + p)[1:]
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i]
		}
	}
	return p
}
