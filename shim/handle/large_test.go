package handle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sealed copy lies in large pages: one that is touched is mapped as a whole.
func TestSpawnerLiesInLargePages(t *testing.T) {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) == nil {
		fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor) //nolint:errcheck // 0 is old
	}
	if major < 6 || major == 6 && minor < 7 {
		t.Skip("sealed memory can be mapped shared, to look at it, from Linux 6.7 on")
	}
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no transparent huge pages")
	}
	binary := filepath.Join(t.TempDir(), "sampan-runtime")
	if err := os.WriteFile(binary, make([]byte, 2*largePage+1), 0o755); err != nil {
		t.Fatal(err)
	}
	large := 0
	for range 20 {
		s, err := NewSpawner(binary)
		if err != nil {
			t.Fatal(err)
		}
		if largeKiB(t, int(s.binary.Fd())) == 2*largePage>>10 {
			large++
		}
		s.Close()
	}
	if large == 0 { // a machine whose memory is in pieces may refuse some
		t.Error("no sealed copy lies in large pages")
	}
}

// largeKiB tells how much of two large pages of a file is mapped by single entries.
func largeKiB(t *testing.T, fd int) int {
	t.Helper()
	const size = 2 * largePage
	place, err := unix.MmapPtr(-1, 0, nil, size+largePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.MunmapPtr(place, size+largePage) //nolint:errcheck // a test
	start := unsafe.Add(place, -uintptr(place)&(largePage-1))
	if _, err := unix.MmapPtr(fd, 0, start, size, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		t.Fatal(err)
	}
	var zero byte
	for i := range 2 {
		zero |= *(*byte)(unsafe.Add(start, i*largePage))
	}
	if zero != 0 {
		t.Error("the copy is not what was copied")
	}
	table, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, entry, ok := strings.Cut(string(table), fmt.Sprintf("%x-", uintptr(start)))
	if !ok {
		t.Fatal("the mapping is not in /proc/self/smaps")
	}
	var kib int
	_, entry, _ = strings.Cut(entry, "ShmemPmdMapped:")
	fmt.Sscan(entry, &kib) //nolint:errcheck // 0 is reported
	return kib
}
