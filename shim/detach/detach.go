// Package detach finds the keys that let go of a container in a client's input
// (Docker's default is ctrl-p ctrl-q).
package detach

// Finder looks for the sequence Keys. Keys that might begin it are held back, and
// given on once they turn out not to. Without Keys everything is input.
type Finder struct {
	Keys    []byte
	matched int
}

// Feed appends to dst what of p is input, and tells whether the sequence is
// complete; what follows it is dropped.
func (d *Finder) Feed(dst, p []byte) (out []byte, detached bool) {
	if len(d.Keys) == 0 {
		return append(dst, p...), false
	}
	for _, b := range p {
		if b == d.Keys[d.matched] {
			d.matched++
			if d.matched == len(d.Keys) {
				return dst, true
			}
			continue
		}
		// What was held back is input now, except for a tail of it that, with b,
		// still begins the sequence.
		held := append(append([]byte(nil), d.Keys[:d.matched]...), b)
		keep := d.longestStart(held)
		dst = append(dst, held[:len(held)-keep]...)
		d.matched = keep
	}
	return dst, false
}

// longestStart is the length of the longest proper end of p that begins keys.
func (d *Finder) longestStart(p []byte) int {
	for n := min(len(p), len(d.Keys)-1); n > 0; n-- {
		if string(p[len(p)-n:]) == string(d.Keys[:n]) {
			return n
		}
	}
	return 0
}

// Flush returns what is held back when the input ends.
func (d *Finder) Flush(dst []byte) []byte {
	dst = append(dst, d.Keys[:d.matched]...)
	d.matched = 0
	return dst
}
