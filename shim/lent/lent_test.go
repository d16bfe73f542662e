package lent

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]) })
	return p[0], p[1]
}

// ended tells whether no writer of the pipe is left.
func ended(t *testing.T, r int) bool {
	t.Helper()
	n, err := unix.Read(r, make([]byte, 1))
	return n == 0 && err == nil
}

func TestStore(t *testing.T) {
	var s Store
	r, w := pipe(t)
	if err := s.Put("a", w); err != nil {
		t.Fatal(err)
	}
	fd, err := s.Copy("a")
	if err != nil {
		t.Fatal(err)
	}
	s.Drop("a")
	if ended(t, r) {
		t.Error("a copy ended with the store's own")
	}
	unix.Close(fd)
	if !ended(t, r) {
		t.Error("Drop left the descriptor open")
	}
	if _, err := s.Copy("a"); err == nil {
		t.Error("a dropped descriptor is still there")
	}
	s.Drop("never there")
}

func TestPutReplaces(t *testing.T) {
	var s Store
	first, w := pipe(t)
	_ = s.Put("a", w)
	second, w := pipe(t)
	_ = s.Put("a", w)
	if !ended(t, first) || ended(t, second) {
		t.Error("the new one must take the old one's place")
	}
	s.Close()
	if !ended(t, second) {
		t.Error("Close left a descriptor open")
	}
}

func TestBound(t *testing.T) {
	var s Store
	defer s.Close()
	for i := range MaxKept {
		_, w := pipe(t)
		if err := s.Put(fmt.Sprint(i), w); err != nil {
			t.Fatal(err)
		}
	}
	r, w := pipe(t)
	if err := s.Put("more", w); err == nil {
		t.Error("no bound")
	}
	if !ended(t, r) {
		t.Error("a refused descriptor stays open")
	}
}
