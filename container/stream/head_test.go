package stream

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHeadTaken(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer near.Close()
	defer far.Close()
	if !HeadTaken(t.Context(), near) {
		t.Error("nothing was sent, and something is not read")
	}
	if _, err := near.WriteString("HTTP/1.1 101 UPGRADED\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if HeadTaken(t.Context(), near) {
		t.Error("nobody read, and nothing is left")
	}
	if _, err := far.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if !HeadTaken(t.Context(), near) {
		t.Error("all was read, and something is left")
	}
}
