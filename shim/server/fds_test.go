package server

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever the daemon inherited, its shims do not hold it.
func TestNothingIsInherited(t *testing.T) {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil { // without close-on-exec
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	s := newSpawner(t)
	r := plain(t, "sleep", "1000")
	r.mustBegin(s)
	var st unix.Stat_t
	if err := unix.Fstat(p[0], &st); err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/fd/", r.shim.ShimPid())
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if target, _ := os.Readlink(dir + e.Name()); target == fmt.Sprintf("pipe:[%d]", st.Ino) {
			t.Errorf("descriptor %s of the shim is the pipe", e.Name())
		}
	}
}
