package launch

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program is used once, by a process that may go on for months. So what most of
// it consists of lies outside of the heap and goes back to the kernel with Release,
// where a supervisor would keep it until a collection that never comes.
const (
	// usualOps is what the default specification of a container comes to, and some more.
	usualOps   = 704
	regionOps  = usualOps * int(unsafe.Sizeof(op{}))
	regionData = 48 << 10
	regionSize = regionOps + regionData + sharedStack
)

// region is the memory of a program that is not larger than usual; nil where the
// kernel has none to give, and then the heap serves.
type region struct{ mem []byte }

func newRegion() region {
	// In one go: nearly all of it is going to be used.
	mem, err := unix.Mmap(-1, 0, regionSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return region{}
	}
	return region{mem}
}

func (r region) ops() []op {
	if r.mem == nil {
		return make([]op, 0, usualOps)
	}
	return unsafe.Slice((*op)(unsafe.Pointer(&r.mem[0])), usualOps)[:0]
}

func (r region) data() []byte {
	if r.mem == nil {
		return nil
	}
	return r.mem[regionOps : regionOps+regionData : regionOps+regionData]
}

func (r region) stack() []byte {
	if r.mem == nil {
		return make([]byte, sharedStack)
	}
	return r.mem[regionOps+regionData:]
}

// Release gives the program's memory back. It cannot be started any more, and no
// Memory of its builder be used. Calling it again is harmless.
func (p *Program) Release() {
	if p.region.mem != nil {
		_ = unix.Munmap(p.region.mem) // it was mapped as it is
	}
	p.region.mem, p.ops, p.arena = nil, nil, arena{}
}

// Release is Program.Release, also for a program that was not finished.
func (b *Builder) Release() { b.p.Release() }
