package handle

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// largePage is what one entry of a page directory maps.
const largePage = 2 << 20

// inLargePages gathers what a memfd holds in pages of 2 MiB (MADV_COLLAPSE, Linux 6.1), as
// far as there are such: each shim then maps the program's text with one fault and not
// with a hundred, which is a tenth of its start. It needs 10 ms, once. Where the
// kernel cannot do it, the shims start as well, and more slowly.
//
// The memfd is sealed before: a page that is being gathered has users of its own for a
// moment, with which the kernel refuses F_SEAL_WRITE (EBUSY). Sealed memory may be mapped
// privately alone, before Linux 6.7.
func inLargePages(mem *os.File) {
	st, err := mem.Stat()
	if err != nil || st.Size() < largePage {
		return
	}
	size := uintptr(st.Size()) &^ (largePage - 1)
	// The mapping must begin at a multiple of the page, which mmap does not promise.
	place, err := unix.MmapPtr(-1, 0, nil, size+largePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return
	}
	defer unix.MunmapPtr(place, size+largePage) //nolint:errcheck // nothing else can be done
	start := unsafe.Add(place, -uintptr(place)&(largePage-1))
	if _, err := unix.MmapPtr(int(mem.Fd()), 0, start, size, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED); err != nil {
		return
	}
	unix.Madvise(unsafe.Slice((*byte)(start), size), unix.MADV_COLLAPSE) //nolint:errcheck // see above
}
