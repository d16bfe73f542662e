package inflate

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Flags of a member's header (RFC 1952, 2.3.1).
const (
	hasCheck   = 1 << 1
	hasExtra   = 1 << 2
	hasName    = 1 << 3
	hasComment = 1 << 4
)

// member reads the header of the next member; io.EOF says that there is none.
func (z *Reader) member() error {
	const size = 10
	z.need(size)
	switch have := len(z.in) - z.pos; {
	case have == 0 && z.err == io.EOF && !z.first:
		return io.EOF
	case have < size:
		if z.err != nil && z.err != io.EOF {
			return z.err
		}
		if have == 0 {
			return io.EOF
		}
		return io.ErrUnexpectedEOF
	}
	head := z.in[z.pos : z.pos+size]
	if head[0] != 0x1f || head[1] != 0x8b || head[2] != 8 {
		return ErrHeader
	}
	flags, sum := head[3], crc32.ChecksumIEEE(head)
	z.pos += size
	if flags&hasExtra != 0 {
		if err := z.skipExtra(&sum); err != nil {
			return err
		}
	}
	for _, text := range [...]byte{hasName, hasComment} {
		if flags&text != 0 {
			if err := z.skipText(&sum); err != nil {
				return err
			}
		}
	}
	if flags&hasCheck != 0 {
		z.need(2)
		if len(z.in)-z.pos < 2 {
			return z.short()
		}
		if binary.LittleEndian.Uint16(z.in[z.pos:]) != uint16(sum) {
			return ErrHeader
		}
		z.pos += 2
	}
	z.first, z.step = false, atBlock
	z.sum, z.total, z.seen = 0, 0, 0
	return nil
}

func (z *Reader) skip(sum *uint32) (byte, error) {
	b, err := z.octet()
	*sum = crc32.Update(*sum, crc32.IEEETable, []byte{b})
	return b, err
}

func (z *Reader) skipExtra(sum *uint32) error {
	low, err := z.skip(sum)
	if err != nil {
		return err
	}
	high, err := z.skip(sum)
	for n := int(high)<<8 | int(low); n > 0 && err == nil; n-- {
		_, err = z.skip(sum)
	}
	return err
}

func (z *Reader) skipText(sum *uint32) error {
	for range maxText {
		b, err := z.skip(sum)
		if err != nil {
			return err
		}
		if b == 0 {
			return nil
		}
	}
	return ErrHeader
}
