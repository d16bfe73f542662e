package layer

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/kernel/archive"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// Pack writes a layer as a tar. Its bytes are not those that the layer came from:
// the order of the entries and what headers hold beside Docker's attributes are
// ours. So its digest may differ from the diffID; that of the layer that
// Unpack makes of it does not change any more.
func (s *Store) Pack(ctx context.Context, id digest.Digest, w io.Writer) error {
	info, err := s.Stat(id)
	if err != nil {
		return err
	}
	root, err := inroot.Open(filepath.Join(s.path(id), rootDir))
	if err != nil {
		return err
	}
	defer root.Close()
	o := archive.PackOptions{Overlay: true, OpaqueTop: info.OpaqueRoot, Implied: map[string]bool{}}
	for _, dir := range info.Implied {
		if dir == "." {
			o.OmitTop = true
		}
		o.Implied[dir] = true
	}
	t := tar.NewWriter(w)
	if err := archive.Pack(ctx, t, root, "/", ".", o); err != nil {
		return fmt.Errorf("read layer %s: %w", id, err)
	}
	return t.Close()
}
