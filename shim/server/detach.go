package server

// detacher looks for the detach keys in a client's input. Keys that might begin
// the sequence are held back, and given on once they turn out not to.
type detacher struct {
	keys    []byte
	matched int
}

// feed appends to dst what of p is input, and tells whether the sequence is
// complete; what follows it is dropped.
func (d *detacher) feed(dst, p []byte) (out []byte, detached bool) {
	if len(d.keys) == 0 {
		return append(dst, p...), false
	}
	for _, b := range p {
		if b == d.keys[d.matched] {
			d.matched++
			if d.matched == len(d.keys) {
				return dst, true
			}
			continue
		}
		// What was held back is input now, except for a tail of it that, with b,
		// still begins the sequence.
		held := append(append([]byte(nil), d.keys[:d.matched]...), b)
		keep := d.longestStart(held)
		dst = append(dst, held[:len(held)-keep]...)
		d.matched = keep
	}
	return dst, false
}

// longestStart is the length of the longest proper end of p that begins keys.
func (d *detacher) longestStart(p []byte) int {
	for n := min(len(p), len(d.keys)-1); n > 0; n-- {
		if string(p[len(p)-n:]) == string(d.keys[:n]) {
			return n
		}
	}
	return 0
}

// flush returns what is held back when the input ends.
func (d *detacher) flush(dst []byte) []byte {
	dst = append(dst, d.keys[:d.matched]...)
	d.matched = 0
	return dst
}
