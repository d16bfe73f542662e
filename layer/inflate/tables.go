package inflate

import "math/bits"

// An entry of a decoding table says all of one lookup:
//
//	bits 0-5    bits of the stream that it uses up, extra bits included
//	bits 8-13   bits of the code itself, or of a subtable's index
//	bit 15      one or two literals: their number is in bits 8-9, and how many
//	            bits the first has in bits 10-13
//	bit 14      not a plain literal, length or distance:
//	bit 13        the end of the block
//	bit 12        the bits are no code; without 12 and 13: a subtable follows
//	bits 16-31  the literals, a length or distance without its extra bits, or
//	            where the subtable begins
type entry uint32

const (
	literal entry = 1 << 15
	special entry = 1 << 14
	endMark entry = 1 << 13
	invalid entry = 1 << 12

	usedMask   = 0x3f
	codeShift  = 8
	codeMask   = 0x3f
	valueShift = 16

	numberMask = 3
	firstShift = 10
	firstMask  = 0xf
)

const (
	maxCode     = 15  // bits
	maxLiterals = 288 // of which a block may describe 286
	maxDistance = 32
	maxLengths  = 286 + 30

	litBits  = 11
	distBits = 9
	// A subtable has at most 2^(maxCode-main) entries for each of the main
	// entries; the sizes are what the worst complete codes need (zlib's enough.c:
	// 2342 and 594 for these numbers of symbols), rounded up.
	litEntries  = 2560
	distEntries = 768
)

var (
	lengthBase  = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [...]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [...]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [...]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	// codeOrder is the order in which the lengths of the code length code come.
	codeOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// literalEntry is what a symbol of the literal and length code stands for.
func literalEntry(symbol int) entry {
	switch {
	case symbol < 256:
		return literal | 1<<codeShift | entry(symbol)<<valueShift
	case symbol == 256:
		return special | endMark
	case symbol-257 < len(lengthBase):
		return entry(lengthBase[symbol-257])<<valueShift | entry(lengthExtra[symbol-257])
	}
	return special | invalid
}

func distanceEntry(symbol int) entry {
	if symbol < len(distBase) {
		return entry(distBase[symbol])<<valueShift | entry(distExtra[symbol])
	}
	return special | invalid
}

func codeLengthEntry(symbol int) entry { return entry(symbol) << valueShift }

// build fills a table of 2^main entries, and behind them subtables, from the
// lengths of the codes of all symbols. It is false for lengths that are no complete
// prefix code; one code of one bit, and none at all, pass as in zlib: what is not a
// code of theirs is found when it comes.
func build(table []entry, main int, lengths []uint8, meaning func(int) entry) bool {
	var count, next [maxCode + 1]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	longest, space := 0, 1
	for n := 1; n <= maxCode; n++ {
		space <<= 1
		space -= count[n]
		if space < 0 {
			return false
		}
		if count[n] > 0 {
			longest = n
		}
	}
	if single := longest == 1 && count[1] == 1; space > 0 && longest > 0 && !single {
		return false
	}
	if space > 0 {
		for i := range table[:1<<main] {
			table[i] = special | invalid | 1
		}
	}
	var sorted [maxLiterals]uint16
	for n := 1; n < maxCode; n++ {
		next[n+1] = next[n] + count[n]
	}
	at := next
	for symbol, n := range lengths {
		if n > 0 {
			sorted[at[n]] = uint16(symbol)
			at[n]++
		}
	}
	return place(table, main, longest, &count, sorted[:], meaning)
}

// place gives every symbol, shortest code first, its entries. Codes come from the
// stream with their first bit lowest, so code is kept reversed.
func place(table []entry, main, longest int, count *[maxCode + 1]int, sorted []uint16, meaning func(int) entry) bool {
	code, symbol := uint32(0), 0
	free := 1 << main // where the next subtable begins
	prefix, start, width := ^uint32(0), 0, 0
	for n := 1; n <= longest; n++ {
		for left := count[n]; left > 0; left-- {
			e := meaning(int(sorted[symbol]))
			symbol++
			if n <= main {
				put(table[:1<<main], code, n, with(e, n))
			} else {
				if p := code & (1<<main - 1); p != prefix {
					prefix, start = p, free
					width = subWidth(count, n, left, main)
					if free += 1 << width; free > len(table) {
						return false
					}
					table[p] = special | entry(main) | entry(width)<<codeShift | entry(start)<<valueShift
				}
				put(table[start:start+1<<width], code>>main, n-main, with(e, n-main))
			}
			code = following(code, n)
		}
	}
	return true
}

// with adds the length of its code to an entry.
func with(e entry, n int) entry {
	switch {
	case e&literal != 0:
		e |= entry(n) << firstShift
	case e&special == 0:
		e |= entry(n) << codeShift
	}
	return e + entry(n)
}

// put repeats an entry at every index that begins with the code.
func put(table []entry, code uint32, n int, e entry) {
	for i := int(code); i < len(table); i += 1 << n {
		table[i] = e
	}
}

// subWidth is how many bits the subtable needs which begins with a code of n bits:
// the codes that share its prefix fill it.
func subWidth(count *[maxCode + 1]int, n, left, main int) int {
	width := n - main
	for space := 1<<width - left; space > 0 && width+main < maxCode; {
		width++
		space = space<<1 - count[width+main]
	}
	return width
}

// following is the next code of n bits, in reversed order: the highest zero of the
// n bits is set and the ones above it are cleared.
func following(code uint32, n int) uint32 {
	zeros := ^code & (1<<n - 1)
	if zeros == 0 {
		return 0 // this was the last one
	}
	top := uint32(1) << (bits.Len32(zeros) - 1)
	return code&(top-1) | top
}

// pair joins a literal with the one that follows it where the main table sees both.
func pair(table *[litEntries]entry) {
	// From the end: the entry of the second one lies before that of the first.
	for i := 1<<litBits - 1; i >= 0; i-- {
		first := table[i]
		if first&literal == 0 {
			continue
		}
		n := first & usedMask
		second := table[i>>n]
		if second&literal == 0 || n+second&usedMask > litBits {
			continue
		}
		table[i] = literal | 2<<codeShift | n<<firstShift | (n + second&usedMask) |
			(first>>valueShift&0xff)<<valueShift | (second>>valueShift&0xff)<<(valueShift+8)
	}
}
