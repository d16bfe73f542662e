// Package archive writes trees below a root descriptor as tar streams and
// unpacks tar streams into them: copies between hosts and containers, exports,
// and the changes of a container. Both the tree and the stream are hostile: all
// paths are resolved inside the root (kernel/inroot), special files are never
// opened, and counts and lengths are bounded.
//
// Compression is the caller's business. Errors about a stream's content match
// ErrInvalid; others are *fs.PathError with the path inside the root.
package archive

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxEntries bounds the entries of one stream: an ext4 of 64 GB has as many inodes.
	MaxEntries = 4 << 20
	// maxDepth bounds the nesting of directories that are packed.
	maxDepth = 1000
	// maxDir bounds the entries of one directory held in memory.
	maxDir = 1 << 20
	// maxLinks bounds the files with several names whose first name is remembered;
	// of more than these the content is written again.
	maxLinks = 1 << 20
	// maxPath is PATH_MAX.
	maxPath = 4096
	// maxID is the largest uid or gid; 2^32-1 means "leave alone" to chown.
	maxID = 1<<32 - 2
	// copyBuffer is what one read takes of a file.
	copyBuffer = 256 << 10

	paxXattr = "SCHILY.xattr."
)

// Names of AUFS, which layer tars use for what is removed.
const (
	// WhiteoutPrefix begins the name of an entry that removes a name below.
	WhiteoutPrefix = ".wh."
	// OpaqueMarker is the entry of a directory that hides what lies below it.
	OpaqueMarker = ".wh..wh..opq"
)

// ErrInvalid reports a stream whose content cannot be accepted.
var ErrInvalid = errors.New("invalid archive")

type invalidError struct{ text string }

func (e *invalidError) Error() string        { return e.text }
func (e *invalidError) Is(target error) bool { return target == ErrInvalid }

func invalid(format string, args ...any) error { return &invalidError{fmt.Sprintf(format, args...)} }

// portableXattr tells which attributes travel: those of overlay and of security
// modules belong to the place, not to the file.
func portableXattr(name string) bool {
	return name == "security.capability" || strings.HasPrefix(name, "user.")
}
