package reuse

import "testing"

func TestPool(t *testing.T) {
	var p Pool[[4]byte]
	a, b := p.Get(), p.Get()
	a[0] = 1
	p.Put(a)
	if again := p.Get(); again != a || again[0] != 1 {
		t.Error("a value that was put back is not used again while another is in use")
	}
	p.Put(nil) // somebody may still use a's memory
	if c := p.Get(); c == a || c == b {
		t.Error("memory that is in use was given away")
	} else {
		p.Put(c)
	}
	p.Put(b)
	if p.inUse != 0 || p.free != nil {
		t.Errorf("an idle pool holds %d values, %d in use", len(p.free), p.inUse)
	}
}
