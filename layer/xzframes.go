package layer

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/sampan-containers/sampan/fault"
)

// xzFrames passes an xz file through and refuses one whose blocks ask for a
// dictionary larger than maxWindow. The decoder allocates what a block header
// says, up to 4 GiB, and any block of a file can say it; so the frames are
// followed to the end: https://tukaani.org/xz/xz-file-format.txt and, for the
// chunks of LZMA2, the Linux kernel's xz decoder.
type xzFrames struct {
	r       *bufio.Reader
	pending []byte // parsed, to hand on
	pass    int    // bytes to hand on unseen after pending
	step    func() error
	check   int // bytes of the check after each block
	size    int // bytes of the block's data, or of the index, so far
	records uint64
}

const (
	xzStreamHeader = 12
	xzIDLZMA2      = 0x21
	xzMaxVarint    = 9
)

var errXz = fault.New(fault.Invalid, "the archive is not a valid xz file")

func (x *xzFrames) Read(p []byte) (int, error) {
	for len(x.pending) == 0 && x.pass == 0 {
		if x.step == nil {
			x.step = x.stream
		}
		if err := x.step(); err != nil {
			return 0, err
		}
	}
	if len(x.pending) > 0 {
		n := copy(p, x.pending)
		x.pending = x.pending[n:]
		return n, nil
	}
	n, err := x.r.Read(p[:min(len(p), x.pass)])
	x.pass -= n
	return n, err
}

// take reads n bytes and leaves them to hand on.
func (x *xzFrames) take(n int) ([]byte, error) {
	at := len(x.pending)
	x.pending = append(x.pending, make([]byte, n)...)
	if _, err := io.ReadFull(x.r, x.pending[at:]); err != nil {
		return nil, unexpected(err)
	}
	return x.pending[at:], nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (x *xzFrames) stream() error {
	head, err := x.r.Peek(1)
	if err != nil {
		return err
	}
	if head[0] == 0 { // padding between streams
		_, err := x.take(4)
		return err
	}
	h, err := x.take(xzStreamHeader)
	if err != nil {
		return err
	}
	// Sizes of the check by its ID, section 2.1.1.2.
	sizes := [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	x.check = sizes[h[7]&0xf]
	x.step = x.block
	return nil
}

func (x *xzFrames) block() error {
	head, err := x.r.Peek(1)
	if err != nil {
		return unexpected(err)
	}
	if head[0] == 0 {
		x.size = 0
		x.step = x.index
		return nil
	}
	h, err := x.take((int(head[0]) + 1) * 4)
	if err != nil {
		return err
	}
	dict, ok := lzma2Dictionary(h)
	if !ok {
		return errXz
	}
	if dict > maxWindow {
		return fault.New(fault.Invalid, "the archive's xz data asks for a dictionary of %d MiB, more than the limit of %d", dict/mib, maxWindow/mib)
	}
	x.size = 0
	x.step = x.chunk
	return nil
}

// lzma2Dictionary returns the dictionary size that a block header asks for. A
// filter other than LZMA2 is the decoder's to refuse.
func lzma2Dictionary(h []byte) (uint64, bool) {
	flags, rest := h[1], h[2:len(h)-4]
	varint := func() (uint64, bool) {
		v, n := binary.Uvarint(rest[:min(len(rest), xzMaxVarint)])
		if n <= 0 {
			return 0, false
		}
		rest = rest[n:]
		return v, true
	}
	for _, present := range []byte{0x40, 0x80} {
		if flags&present != 0 {
			if _, ok := varint(); !ok {
				return 0, false
			}
		}
	}
	for range flags&3 + 1 {
		id, ok := varint()
		if !ok {
			return 0, false
		}
		n, ok := varint()
		if !ok || n > uint64(len(rest)) {
			return 0, false
		}
		if id == xzIDLZMA2 {
			if n != 1 || rest[0] > 40 {
				return 0, false
			}
			return (2 | uint64(rest[0]&1)) << (rest[0]/2 + 11), true
		}
		rest = rest[n:]
	}
	return 0, false
}

func (x *xzFrames) chunk() error {
	c, err := x.take(1)
	if err != nil {
		return err
	}
	control := c[0]
	x.size++
	switch {
	case control == 0:
		x.pass = (4-x.size%4)%4 + x.check
		x.step = x.block
		return nil
	case control >= 0x80:
		n := 4
		if control >= 0xc0 {
			n = 5 // with a properties byte
		}
		h, err := x.take(n)
		if err != nil {
			return err
		}
		x.pass = int(binary.BigEndian.Uint16(h[2:])) + 1
		x.size += n + x.pass
		return nil
	case control <= 2:
		h, err := x.take(2)
		if err != nil {
			return err
		}
		x.pass = int(binary.BigEndian.Uint16(h)) + 1
		x.size += 2 + x.pass
		return nil
	}
	return errXz
}

// index begins the list of records at the end of a stream.
func (x *xzFrames) index() error {
	if _, err := x.take(1); err != nil {
		return err
	}
	x.size++
	n, err := x.varint()
	x.records = n
	x.step = x.record
	return err
}

func (x *xzFrames) record() error {
	if x.records == 0 {
		const crc, footer = 4, 12
		x.pass = (4-x.size%4)%4 + crc + footer
		x.step = x.stream
		return nil
	}
	x.records--
	for range 2 {
		if _, err := x.varint(); err != nil {
			return err
		}
	}
	return nil
}

func (x *xzFrames) varint() (v uint64, err error) {
	for i := range xzMaxVarint {
		b, err := x.take(1)
		if err != nil {
			return 0, err
		}
		x.size++
		v |= uint64(b[0]&0x7f) << (7 * i)
		if b[0] < 0x80 {
			return v, nil
		}
	}
	return 0, errXz
}
