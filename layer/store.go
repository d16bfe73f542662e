// Package layer turns layer tars into directories and back.
//
// A layer is the directory layers/sha256/<hex of its diffID>/fs, in the form
// overlayfs reads: whiteouts are character devices 0:0 and opaque directories
// carry trusted.overlay.opaque. It is a pure function of the layer's tar, so
// layers unpack in any order and are shared by all images that contain them.
// layer.json beside it records its size and the directories which the tar
// implied but did not list; Chain mends those per image, because such a
// directory must show the mode, owner and xattrs of the layer below.
//
// A layer appears by one rename after one syncfs, and disappears by one
// rename; what a crash leaves is removed by Open.
//
// Everything in a tar is hostile. Entries are made only through kernel/inroot,
// counts and lengths are bounded, and xattrs in trusted.overlay are dropped.
package layer

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
)

// Info describes a layer that is there.
type Info struct {
	DiffID digest.Digest
	// Size is the sum of the regular files' sizes, hard links counted once.
	Size int64
	// Implied lists the directories that the tar did not list, shortest path
	// first, "." for the root itself.
	Implied []string
}

// Store is the directory of layers. It is safe for concurrent use, by one process.
type Store struct{}

// Open opens or makes the store below the data root and removes leftovers.
func Open(root string) (*Store, error) { return nil, errors.New("being written") }

// Unpack reads one layer tar, plain or compressed (gzip, zstd, xz, bzip2, told
// apart by their first bytes), and makes its layer, unless it is there. When
// want is not empty the diffID must equal it.
func (s *Store) Unpack(ctx context.Context, r io.Reader, want digest.Digest) (*Info, error) {
	return nil, errors.New("being written")
}

// Stat returns a layer, or fault.NotFound.
func (s *Store) Stat(id digest.Digest) (*Info, error) { return nil, errors.New("being written") }

// Chain returns the directories of a chain of layers given bottom first, top
// first, with the mending directory where the chain needs one.
func (s *Store) Chain(ids []digest.Digest) ([]string, error) {
	return nil, errors.New("being written")
}

// Remove takes a layer away at once and its files in the background.
func (s *Store) Remove(id digest.Digest) error { return errors.New("being written") }
