package compact

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// The origin lies in the header's extra field (RFC 1952, 2.3.1.1): two letters, a
// length, and three numbers of 8 bytes, all little endian.
const (
	originID   = "Sp"
	originSize = 24
)

func (o Origin) encode() []byte {
	b := append([]byte(originID), originSize, 0)
	b = binary.LittleEndian.AppendUint64(b, o.Inode)
	b = binary.LittleEndian.AppendUint64(b, uint64(o.Size))
	return binary.LittleEndian.AppendUint64(b, uint64(o.Time))
}

// ReadOrigin reads the origin of a compressed file and goes back to its beginning.
// A file without one has the zero origin.
func ReadOrigin(f *os.File) (o Origin, err error) {
	z, err := gzip.NewReader(io.LimitReader(f, 64<<10))
	if err != nil {
		return o, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if b := z.Extra; len(b) == 4+originSize && string(b[:2]) == originID {
		o.Inode = binary.LittleEndian.Uint64(b[4:])
		o.Size = int64(binary.LittleEndian.Uint64(b[12:]))
		o.Time = int64(binary.LittleEndian.Uint64(b[20:]))
	}
	_, err = f.Seek(0, io.SeekStart)
	return o, err
}
