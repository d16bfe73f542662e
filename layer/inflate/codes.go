package inflate

import "encoding/binary"

const (
	// margin is the room that the fast loop needs in the output: a longest match,
	// the literals before it, and what copies by words write too much.
	margin = 258 + 8 + 16
	// ahead is what it needs of the input: two loads of a word.
	ahead = 24
)

// codes decompresses symbols until the output is full or the block ends.
func (z *Reader) codes(out []byte, at int) (int, error) {
	floor := max(at-z.seen, 0) // matches reach no further back
	for at < len(out) {
		z.need(ahead)
		if len(z.in)-z.pos >= ahead && len(out)-at >= margin {
			var err error
			if at, err = z.fast(out, at, floor); err != nil || z.step != inCodes {
				return at, err
			}
			continue
		}
		n, err := z.symbol(out, at, floor)
		if at = n; err != nil || z.step != inCodes {
			return at, err
		}
	}
	return at, nil
}

// fast decodes while there is room on both sides. It ends at least one symbol
// further, or with another step.
func (z *Reader) fast(out []byte, at, floor int) (int, error) {
	in, pos, hold, count := z.in, z.pos, z.hold, z.count
	lit, dist := &z.lit, &z.dist
	inEnd, outEnd, err := len(in)-ahead, len(out)-margin, error(nil)
	for pos <= inEnd && at <= outEnd {
		// Now 56 to 63 bits are valid; more may be in hold, and come there again.
		hold |= binary.LittleEndian.Uint64(in[pos:]) << (count & 63)
		pos += int((63 - count) >> 3)
		count |= 56
		e := lit[hold&(1<<litBits-1)]
		if e&literal != 0 {
			binary.LittleEndian.PutUint16(out[at:], uint16(e>>valueShift))
			at += int(e >> codeShift & numberMask)
			hold >>= e & usedMask
			count -= uint(e & usedMask)
			e = lit[hold&(1<<litBits-1)]
			if e&literal != 0 {
				binary.LittleEndian.PutUint16(out[at:], uint16(e>>valueShift))
				at += int(e >> codeShift & numberMask)
				hold >>= e & usedMask
				count -= uint(e & usedMask)
				e = lit[hold&(1<<litBits-1)]
				if e&literal != 0 {
					binary.LittleEndian.PutUint16(out[at:], uint16(e>>valueShift))
					at += int(e >> codeShift & numberMask)
					hold >>= e & usedMask
					count -= uint(e & usedMask)
					continue
				}
			}
		}
		// At least 34 bits are left: a code of 15 and 5 extra bits are among them.
		if e&special != 0 {
			if e&(endMark|invalid) == 0 {
				hold >>= e & usedMask
				count -= uint(e & usedMask)
				e = lit[uint(e>>valueShift)+uint(hold&(1<<(e>>codeShift&codeMask)-1))]
			}
			if e&literal != 0 {
				out[at] = byte(e >> valueShift)
				at++
				hold >>= e & usedMask
				count -= uint(e & usedMask)
				continue
			}
			if e&special != 0 {
				if err = ErrCorrupt; e&invalid == 0 {
					hold >>= e & usedMask
					count -= uint(e & usedMask)
					z.endBlock()
					err = nil
				}
				break
			}
		}
		length := int(e>>valueShift) + int(hold&(1<<(e&usedMask)-1)>>(e>>codeShift&codeMask))
		hold >>= e & usedMask
		count -= uint(e & usedMask)

		hold |= binary.LittleEndian.Uint64(in[pos:]) << (count & 63)
		pos += int((63 - count) >> 3)
		count |= 56
		e = dist[hold&(1<<distBits-1)]
		if e&special != 0 {
			if e&invalid == 0 {
				hold >>= e & usedMask
				count -= uint(e & usedMask)
				e = dist[uint(e>>valueShift)+uint(hold&(1<<(e>>codeShift&codeMask)-1))]
			}
			if err = ErrCorrupt; e&special != 0 {
				break
			}
			err = nil
		}
		distance := int(e>>valueShift) + int(hold&(1<<(e&usedMask)-1)>>(e>>codeShift&codeMask))
		hold >>= e & usedMask
		count -= uint(e & usedMask)
		from := at - distance
		if from < floor {
			err = ErrCorrupt
			break
		}
		end := at + length
		if distance < 16 {
			at = repeat(out, at, distance, length)
			continue
		}
		for at < end {
			a, b := binary.LittleEndian.Uint64(out[from:]), binary.LittleEndian.Uint64(out[from+8:])
			binary.LittleEndian.PutUint64(out[at:], a)
			binary.LittleEndian.PutUint64(out[at+8:], b)
			from += 16
			at += 16
		}
		at = end
	}
	z.pos, z.count = pos, count
	z.hold = hold & (1<<count - 1)
	return at, err
}

// repeat copies a match that reads what it has just written. It may write 7 bytes
// too much.
func repeat(out []byte, at, distance, length int) int {
	end := at + length
	switch {
	case distance >= 8:
		for ; at < end; at += 8 {
			binary.LittleEndian.PutUint64(out[at:], binary.LittleEndian.Uint64(out[at-distance:]))
		}
	case distance == 1:
		word := uint64(out[at-1]) * 0x0101010101010101
		for ; at < end; at += 8 {
			binary.LittleEndian.PutUint64(out[at:], word)
		}
	default:
		for ; at < end; at++ {
			out[at] = out[at-distance]
		}
	}
	return end
}

// symbol decodes one symbol near an end.
func (z *Reader) symbol(out []byte, at, floor int) (int, error) {
	e, err := z.lookup(z.lit[:], litBits)
	if err != nil {
		return at, err
	}
	switch {
	case e&literal != 0:
		out[at] = byte(e >> valueShift)
		z.drop(uint(e >> firstShift & firstMask))
		return at + 1, nil
	case e&endMark != 0:
		z.drop(uint(e & usedMask))
		z.endBlock()
		return at, nil
	}
	z.length = z.value(e)
	if e, err = z.lookup(z.dist[:], distBits); err != nil {
		return at, err
	}
	if z.distance = z.value(e); at-z.distance < floor {
		return at, ErrCorrupt
	}
	if at = z.copyMatch(out, at); z.length > 0 {
		z.step = inMatch
	}
	return at, nil
}

// lookup finds the entry of the next code, of which all bits are there.
func (z *Reader) lookup(table []entry, main uint) (entry, error) {
	z.load()
	e := table[z.hold&(1<<main-1)]
	if e&(literal|special|endMark|invalid) == special {
		used := uint(e & usedMask)
		if used > z.count {
			return 0, z.short()
		}
		z.drop(used)
		e = table[uint(e>>valueShift)+uint(z.hold&(1<<(e>>codeShift&codeMask)-1))]
	}
	used := uint(e & usedMask)
	if e&literal != 0 {
		used = uint(e >> firstShift & firstMask)
	}
	switch {
	case used > z.count:
		return 0, z.short()
	case e&(literal|special) == special && e&invalid != 0:
		return 0, ErrCorrupt
	}
	return e, nil
}

func (z *Reader) drop(n uint) {
	z.hold >>= n
	z.count -= n
}

// value takes a length or distance with its extra bits.
func (z *Reader) value(e entry) int {
	v := int(e>>valueShift) + int(z.hold&(1<<(e&usedMask)-1)>>(e>>codeShift&codeMask))
	z.drop(uint(e & usedMask))
	return v
}

// copyMatch copies as much of the match as fits.
func (z *Reader) copyMatch(out []byte, at int) int {
	n := min(z.length, len(out)-at)
	for i := at; i < at+n; i++ {
		out[i] = out[i-z.distance]
	}
	z.length -= n
	return at + n
}
