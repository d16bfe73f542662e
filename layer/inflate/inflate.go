// Package inflate decompresses gzip (RFC 1952, RFC 1951) at about twice the speed
// of the libraries, which is most of the work of a pull.
//
// What makes the difference: the decoder's output buffer is the caller's block, so
// nothing is copied out of a window; one lookup gives up to two literals; and the
// bits come eight bytes at a time. The checks are those of compress/gzip: a stream
// is accepted here if and only if it is there, with the same bytes, which the fuzz
// target compares.
//
// Input is hostile: every access to the buffers is checked by the language, and
// the memory is that of a Reader, about 90 KiB, whatever the stream says.
package inflate

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

const (
	// Window is how much of its own output a stream may refer to.
	Window = 32 << 10
	// inputSize is what is read at a time.
	inputSize = 64 << 10
	// describe is more than the description of a block's codes takes.
	describe = 512
	// maxText bounds the name and the comment of a member, as compress/gzip does.
	maxText = 512
	// maxEmpty is how often a source may give nothing.
	maxEmpty = 100
)

var (
	// ErrHeader says that the data is no gzip.
	ErrHeader = errors.New("gzip: invalid header")
	// ErrChecksum says that the data does not have the checksum or length it claims.
	ErrChecksum = errors.New("gzip: invalid checksum")
	// ErrCorrupt says that the compressed data means nothing.
	ErrCorrupt = errors.New("flate: corrupt input")
)

// step is where a Reader is in its stream.
type step uint8

const (
	atMember step = iota // a header, or the end
	atBlock
	inStored
	inCodes
	inMatch // some of it did not fit
	atTrailer
)

// Reader decompresses a gzip stream of one or several members. It begins with Reset.
type Reader struct {
	src io.Reader
	err error // of src, or the end of everything

	in       []byte // what was read ...
	pos      int    // ... and not used yet begins here
	raw      [inputSize]byte
	hold     uint64 // bits taken from in
	count    uint   // how many of them are valid
	step     step
	last     bool // this block is the member's last
	first    bool // no member has been read yet
	stored   int  // bytes left of a stored block
	length   int  // of a match
	distance int
	total    uint32 // of the member's bytes, modulo 2^32, as its trailer has it
	sum      uint32
	seen     int // bytes of this member that may be referred to, up to Window

	lit     [litEntries]entry
	dist    [distEntries]entry
	lengths [maxLengths]uint8
	fixed   bool // lit and dist are those of the fixed codes
}

// Reset begins a stream, with the memory of the one before if there was any. Nothing is
// read yet.
func (z *Reader) Reset(src io.Reader) {
	z.src, z.err, z.in, z.pos, z.hold, z.count = src, nil, nil, 0, 0, 0
	z.step, z.first, z.seen, z.length = atMember, true, 0, 0
}

// Fill decompresses into block[history:] and returns how much. block[:history]
// must hold the end of what was decompressed before: all of it, or Window bytes. It
// returns less than fits only with an error, which is io.EOF at the stream's end.
func (z *Reader) Fill(block []byte, history int) (int, error) {
	at := history
	for at < len(block) {
		n, err := z.advance(block, at)
		if n > at {
			z.sum = crc32.Update(z.sum, crc32.IEEETable, block[at:n])
			z.total += uint32(n - at)
			z.seen = min(z.seen+n-at, Window)
			at = n
		}
		if err != nil {
			return at - history, err
		}
	}
	return at - history, nil
}

// advance does one step and returns the end of the output.
func (z *Reader) advance(out []byte, at int) (int, error) {
	switch z.step {
	case atMember:
		return at, z.member()
	case atBlock:
		return at, z.block()
	case inStored:
		return z.copyStored(out, at)
	case inMatch:
		end := z.copyMatch(out, at)
		if z.length == 0 {
			z.step = inCodes
		}
		return end, nil
	case inCodes:
		return z.codes(out, at)
	}
	return at, z.trailer()
}

// need reads until n bytes lie ahead, or the source has ended or failed.
func (z *Reader) need(n int) {
	for empty := 0; len(z.in)-z.pos < n && z.err == nil; {
		// What hold has may be given back: the bytes before pos stay.
		kept := min(z.pos, 8)
		have := copy(z.raw[:], z.in[z.pos-kept:])
		var k int
		k, z.err = z.src.Read(z.raw[have:])
		z.in, z.pos = z.raw[:have+k], kept
		if empty++; k > 0 {
			empty = 0
		} else if empty == maxEmpty && z.err == nil {
			z.err = io.ErrNoProgress
		}
	}
}

// short is what a lack of input means: the source's failure, or that it is cut.
func (z *Reader) short() error {
	if z.err != nil && z.err != io.EOF {
		return z.err
	}
	return io.ErrUnexpectedEOF
}

// load takes whole bytes into hold.
func (z *Reader) load() {
	for z.count <= 56 && z.pos < len(z.in) {
		z.hold |= uint64(z.in[z.pos]) << z.count
		z.pos++
		z.count += 8
	}
}

// take returns n bits, at most 16. Enough input must have been asked for.
func (z *Reader) take(n uint) (uint32, error) {
	if z.count < n {
		if z.load(); z.count < n {
			return 0, z.short()
		}
	}
	v := uint32(z.hold & (1<<n - 1))
	z.hold >>= n
	z.count -= n
	return v, nil
}

// align drops the rest of a byte and gives whole bytes back to the input.
func (z *Reader) align() {
	z.pos -= int(z.count / 8)
	z.hold, z.count = 0, 0
}

// octet reads a byte of a header; bits must be aligned.
func (z *Reader) octet() (byte, error) {
	if z.need(1); z.pos == len(z.in) {
		return 0, z.short()
	}
	b := z.in[z.pos]
	z.pos++
	return b, nil
}

func (z *Reader) trailer() error {
	z.align()
	z.need(8)
	if len(z.in)-z.pos < 8 {
		return z.short()
	}
	sum, total := binary.LittleEndian.Uint32(z.in[z.pos:]), binary.LittleEndian.Uint32(z.in[z.pos+4:])
	z.pos += 8
	if sum != z.sum || total != z.total {
		return ErrChecksum
	}
	z.step = atMember
	return nil
}

// block reads the beginning of a block.
func (z *Reader) block() error {
	z.need(describe)
	final, err := z.take(1)
	if err != nil {
		return err
	}
	kind, err := z.take(2)
	if err != nil {
		return err
	}
	z.last = final == 1
	switch kind {
	case 0:
		return z.beginStored()
	case 1:
		z.fixedCodes()
		z.step = inCodes
		return nil
	case 2:
		if err := z.describedCodes(); err != nil {
			return err
		}
		z.step = inCodes
		return nil
	}
	return ErrCorrupt
}

func (z *Reader) endBlock() {
	z.step = atBlock
	if z.last {
		z.step = atTrailer
	}
}

func (z *Reader) beginStored() error {
	z.align()
	if len(z.in)-z.pos < 4 {
		return z.short()
	}
	n, check := binary.LittleEndian.Uint16(z.in[z.pos:]), binary.LittleEndian.Uint16(z.in[z.pos+2:])
	z.pos += 4
	if n != ^check {
		return ErrCorrupt
	}
	z.stored = int(n)
	if z.step = inStored; n == 0 {
		z.endBlock()
	}
	return nil
}

func (z *Reader) copyStored(out []byte, at int) (int, error) {
	if z.need(1); z.pos == len(z.in) {
		return at, z.short()
	}
	n := copy(out[at:], z.in[z.pos:min(len(z.in), z.pos+z.stored)])
	z.pos += n
	if z.stored -= n; z.stored == 0 {
		z.endBlock()
	}
	return at + n, nil
}

func (z *Reader) fixedCodes() {
	if z.fixed {
		return
	}
	var lengths [maxLiterals]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	build(z.lit[:], litBits, lengths[:], literalEntry)
	pair(&z.lit)
	for i := range maxDistance {
		lengths[i] = 5
	}
	build(z.dist[:], distBits, lengths[:maxDistance], distanceEntry)
	z.fixed = true
}

// describedCodes reads the codes of a block.
func (z *Reader) describedCodes() error {
	z.fixed = false
	var sizes [3]uint32
	for i, n := range [...]uint{5, 5, 4} {
		v, err := z.take(n)
		if err != nil {
			return err
		}
		sizes[i] = v
	}
	literals, distances, codes := int(sizes[0])+257, int(sizes[1])+1, int(sizes[2])+4
	if literals > 286 || distances > 30 {
		return ErrCorrupt
	}
	const codeBits = 7
	var lengths [len(codeOrder)]uint8
	for _, at := range codeOrder[:codes] {
		v, err := z.take(3)
		if err != nil {
			return err
		}
		lengths[at] = uint8(v)
	}
	table := z.dist[:] // not in use yet
	if !build(table, codeBits, lengths[:], codeLengthEntry) {
		return ErrCorrupt
	}
	all := z.lengths[:literals+distances]
	for i := 0; i < len(all); {
		if z.count < maxCode {
			z.load()
		}
		e := table[z.hold&(1<<codeBits-1)]
		if used := uint(e & usedMask); used > z.count {
			return z.short()
		} else if e&special != 0 || used == 0 {
			return ErrCorrupt
		} else {
			z.hold >>= used
			z.count -= used
		}
		symbol := uint8(e >> valueShift)
		if symbol < 16 {
			all[i] = symbol
			i++
			continue
		}
		n, value, err := z.repetition(symbol, all[:i])
		if err != nil {
			return err
		}
		if n > len(all)-i {
			return ErrCorrupt
		}
		for range n {
			all[i] = value
			i++
		}
	}
	if !build(z.lit[:], litBits, all[:literals], literalEntry) || !build(z.dist[:], distBits, all[literals:], distanceEntry) {
		return ErrCorrupt
	}
	pair(&z.lit)
	return nil
}

// repetition reads how often a length is repeated, and which.
func (z *Reader) repetition(symbol uint8, before []uint8) (n int, value uint8, err error) {
	least, width := 3, uint(3)
	switch symbol {
	case 16:
		if len(before) == 0 {
			return 0, 0, ErrCorrupt
		}
		width, value = 2, before[len(before)-1]
	case 18:
		least, width = 11, 7
	}
	extra, err := z.take(width)
	return least + int(extra), value, err
}
