package logfile

import (
	"bytes"
	hexadecimal "encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The bytes are those of protocol buffers' encoding of Docker's LogEntry between
// two lengths, worked out by hand.
func TestLocalFormat(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
	}{
		{"line", "hi\n", "00000016" + "0a067374646f7574" + "10" + "TIME" + "1a026869" + "00000016"},
		{"without an end", "hi", "00000018" + "0a067374646f7574" + "10" + "TIME" + "1a026869" + "2001" + "00000018"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at := time.Unix(0, 0x7fffffffffffffff) // nine bytes of seven bits
			w, path := newLog(t, Options{Local: true, Now: func() time.Time { return at }})
			s := w.Stream("stdout")
			s.Write([]byte(tc.in))
			s.Close()
			want, err := hexadecimal.DecodeString(strings.ReplaceAll(tc.want, "TIME", strings.Repeat("ff", 8)+"7f"))
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
		})
	}
}

func localEntries(t *testing.T, path string) (list []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(raw) > 0 {
		n := int(raw[0])<<24 | int(raw[1])<<16 | int(raw[2])<<8 | int(raw[3])
		e, ok := ParseLocal(raw[4 : 4+n])
		if !ok {
			t.Fatalf("not an entry: %x", raw[4:4+n])
		}
		list = append(list, string(e.Text))
		raw = raw[n+8:]
	}
	return list
}

// Whatever a crash leaves behind the last whole entry goes before the next one.
func TestLocalGoesOnWhereItEnded(t *testing.T) {
	for name, left := range map[string]string{
		"nothing": "", "half a length": "\x00\x00", "half an entry": "\x00\x00\x00\x20abc", "zeros": strings.Repeat("\x00", 4096),
		"a length that does not fit": "\x00\x00\x00\x02ab\x00\x00\x00\x03", "noise": strings.Repeat("\xff", 100),
	} {
		t.Run(name, func(t *testing.T) {
			w, path := newLog(t, Options{Local: true, Path: filepath.Join(t.TempDir(), "local.log")})
			w.Stream("stdout").Write([]byte("one\n"))
			w.Close()
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(left)
			f.Close()
			w, _ = newLog(t, Options{Local: true, Path: path})
			w.Stream("stdout").Write([]byte("two\n"))
			if got := strings.Join(localEntries(t, path), ","); got != "one,two" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestLocalAttrs(t *testing.T) {
	w, path := newLog(t, Options{Local: true, Attrs: map[string]string{"b": "2", "a": strings.Repeat("x", 300)}})
	w.Stream("stderr").Write([]byte("x\n"))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := ParseLocal(raw[4 : len(raw)-4])
	if !ok || len(e.Attrs) != 2 || e.Attrs["b"] != "2" || len(e.Attrs["a"]) != 300 || string(e.Stream) != "stderr" || e.Time != at.UnixNano() {
		t.Errorf("%v %+v", ok, e)
	}
}

// A file that is just being replaced keeps its number, and the log goes on.
func TestRotationWaitsForTheLock(t *testing.T) {
	w, path := newLog(t, Options{MaxSize: 200, MaxFiles: 3, Compress: true})
	s := w.Stream("stdout")
	lock, err := LockDir(filepath.Dir(path), 2) // LOCK_EX
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s.Write([]byte(strings.Repeat("x", 50) + "\n"))
	}
	if n := len(entries(t, path)); n != 10 {
		t.Errorf("%d entries of 10 while the lock was held", n)
	}
	os.NewFile(uintptr(lock), "lock").Close()
	s.Write([]byte("after\n"))
	if n := len(entries(t, path+".1")); n != 10 {
		t.Errorf("%d entries of 10 were rotated", n)
	}
}

func FuzzParseLocal(f *testing.F) {
	f.Add(appendLocal(nil, localHead("stdout"), appendTime(localAttrs(map[string]string{"k": "v"}), at), []byte("text"), true)[4:30])
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := ParseLocal(b); ok && len(e.Text) > len(b) {
			t.Errorf("%d bytes of text in %d", len(e.Text), len(b))
		}
	})
}

func BenchmarkYesLocal(b *testing.B) {
	w, err := Open(Options{Path: filepath.Join(b.TempDir(), "local.log"), Local: true})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	s := w.Stream("stdout")
	data := bytes.Repeat([]byte("y\n"), 1<<15)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s.Write(data)
	}
}
