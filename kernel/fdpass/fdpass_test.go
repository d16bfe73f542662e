package fdpass

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T, typ int) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func openFiles(t *testing.T, n int) []*os.File {
	t.Helper()
	var list []*os.File
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		list = append(list, w)
	}
	return list
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestPassing(t *testing.T) {
	for name, typ := range map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, typ)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := Send(a, []byte("here"), w, w); err != nil {
				t.Fatal(err)
			}
			w.Close()
			buf := make([]byte, 100)
			n, files, err := Recv(b, buf, 2)
			if err != nil || string(buf[:n]) != "here" || len(files) != 2 {
				t.Fatalf("%q, %d files, %v", buf[:n], len(files), err)
			}
			for _, f := range files {
				flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
				if err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("a received descriptor is not close-on-exec: %x, %v", flags, err)
				}
				if _, err := f.WriteString("x"); err != nil {
					t.Error(err)
				}
				f.Close()
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != "xx" {
				t.Errorf("through the pipe came %q, %v", got, err)
			}
			if err := Send(a, []byte("plain")); err != nil {
				t.Fatal(err)
			}
			n, files, err = Recv(b, buf, 0)
			if err != nil || string(buf[:n]) != "plain" || files != nil {
				t.Errorf("%q, %v, %v", buf[:n], files, err)
			}
		})
	}
}

func TestCutMessageIsAnError(t *testing.T) {
	tests := []struct {
		name       string
		data       string
		send, take int
	}{
		{"too many descriptors", "abc", 5, 2},
		{"one too many", "abc", 3, 2},
		{"none wanted", "abc", 1, 0},
		{"too much data", strings.Repeat("x", 50), 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pair(t, unix.SOCK_SEQPACKET)
			if err := Send(a, []byte(tt.data), openFiles(t, tt.send)...); err != nil {
				t.Fatal(err)
			}
			before := descriptors(t)
			_, files, err := Recv(b, make([]byte, 10), tt.take)
			if !errors.Is(err, ErrTruncated) || files != nil {
				t.Errorf("got %v, %v", files, err)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors leaked", after-before)
			}
		})
	}
}

func TestEnds(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	if err := Send(a, nil, openFiles(t, 1)...); err == nil {
		t.Error("a message without data was accepted")
	}
	if err := Send(a, []byte("x"), make([]*os.File, MaxFiles+1)...); err == nil {
		t.Error("too many descriptors were accepted")
	}
	if err := unix.Shutdown(a, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Recv(b, make([]byte, 1), 1); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := Send(a, []byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("send after shutdown: %v (and no SIGPIPE)", err)
	}
}

// A message larger than the socket's buffer arrives whole on a non-blocking socket.
func TestLargeMessage(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
	if err := unix.SetNonblock(b, false); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 128<<10)
	sent := make(chan error, 1)
	go func() { sent <- Send(a, want, openFiles(t, 1)[0]) }()
	var got []byte
	count := 0
	buf := make([]byte, 64<<10)
	for len(got) < len(want) {
		n, files, err := Recv(b, buf, 1)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
		for _, f := range files {
			count++
			f.Close()
		}
	}
	if err := <-sent; err != nil || count != 1 || !bytes.Equal(got, want) {
		t.Errorf("%v, %d descriptors, equal %v", err, count, bytes.Equal(got, want))
	}
}
