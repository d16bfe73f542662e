package logfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

var at = time.Date(2026, 11, 24, 6, 0, 0, 123456000, time.UTC)

type entry struct {
	Log    string            `json:"log"`
	Stream string            `json:"stream"`
	Attrs  map[string]string `json:"attrs"`
	Time   time.Time         `json:"time"`
}

func newLog(t *testing.T, o Options) (*Writer, string) {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "json.log")
	}
	if o.Now == nil {
		o.Now = func() time.Time { return at }
	}
	w, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, o.Path
}

func entries(t *testing.T, path string) []entry {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		t.Fatalf("%s ends in the middle of an entry: %q", path, raw[max(0, len(raw)-80):])
	}
	var list []entry
	for line := range bytes.Lines(raw) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, e)
	}
	return list
}

// The bytes are those of a file that Docker wrote.
func TestFormat(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
		attrs          map[string]string
	}{
		{"line", "hello\n", `{"log":"hello\n","stream":"stdout","time":"2026-11-24T06:00:00.123456Z"}` + "\n", nil},
		{"empty line", "\n", `{"log":"\n","stream":"stdout","time":"2026-11-24T06:00:00.123456Z"}` + "\n", nil},
		{"terminal", "a\r\n", `{"log":"a\r\n","stream":"stdout","time":"2026-11-24T06:00:00.123456Z"}` + "\n", nil},
		{"escapes", "\"\\<>&\t\x00\x7f\b\n", `{"log":"\"\\\u003c\u003e\u0026\u0009\u0000` + "\x7f" + `\u0008\n","stream":"stdout","time":"2026-11-24T06:00:00.123456Z"}` + "\n", nil},
		{"not UTF-8, separators", "é\xff\xc3(\u2028\u2029\n", `{"log":"é\ufffd\ufffd(\u2028\u2029\n","stream":"stdout","time":"2026-11-24T06:00:00.123456Z"}` + "\n", nil},
		{"no newline at the end", "tail", `{"log":"tail","stream":"stdout","time":"2026-11-24T06:00:00.123456Z"}` + "\n", nil},
		{"attributes", "x\n", `{"log":"x\n","stream":"stdout","attrs":{"a":"1","b":"\"q\""},"time":"2026-11-24T06:00:00.123456Z"}` + "\n", map[string]string{"b": `"q"`, "a": "1"}},
		{"entries in text", `{"log":"fake\n","stream":"stderr"}` + "\n", `{"log":"{\"log\":\"fake\\n\",\"stream\":\"stderr\"}\n","stream":"stdout","time":"2026-11-24T06:00:00.123456Z"}` + "\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, path := newLog(t, Options{Attrs: tc.attrs})
			s := w.Stream("stdout")
			s.Write([]byte(tc.in))
			s.Close()
			if got, _ := os.ReadFile(path); string(got) != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// What encoding/json reads from our escapes is what it reads from its own.
func FuzzEscape(f *testing.F) {
	f.Add([]byte("a\"\\\n\r\t<>&\u2028é\xff\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, p []byte) {
		var got string
		ours := `"` + string(AppendEscaped(nil, p)) + `"`
		if err := json.Unmarshal([]byte(ours), &got); err != nil {
			t.Fatalf("%q: %v", ours, err)
		}
		theirs, err := json.Marshal(string(p))
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := json.Unmarshal(theirs, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q became %q, encoding/json makes %q of it", p, got, want)
		}
	})
}

// Split as Docker does: pieces of 16 KiB, only the last with the newline.
func TestLongLines(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		name string
		in   []string
		want []string
	}{
		{"one byte short", []string{x(MaxLine-1) + "\n"}, []string{x(MaxLine-1) + "\n"}},
		{"exactly", []string{x(MaxLine) + "\n"}, []string{x(MaxLine), "\n"}},
		{"one byte more", []string{x(MaxLine+1) + "\n"}, []string{x(MaxLine), "x\n"}},
		{"in small writes", []string{"a\n" + x(10), x(MaxLine), x(5) + "\nb\n"}, []string{"a\n", x(MaxLine), x(15) + "\n", "b\n"}},
		{"without an end", []string{x(2 * MaxLine), x(3)}, []string{x(MaxLine), x(MaxLine), x(3)}},
		{"a character on the border", []string{x(MaxLine-1) + "é" + x(3) + "\n"}, []string{x(MaxLine - 1), "é" + x(3) + "\n"}},
		{"a character on the border, in two writes", []string{x(MaxLine-2) + "\xe2\x82", "\xac\n"}, []string{x(MaxLine - 2), "€\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, path := newLog(t, Options{})
			s := w.Stream("stderr")
			for _, in := range tc.in {
				s.Write([]byte(in))
			}
			s.Close()
			var got []string
			for _, e := range entries(t, path) {
				got = append(got, e.Log)
			}
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("%d entries: %.60q …, want %d", len(got), got, len(tc.want))
			}
		})
	}
}

// The pieces of one line carry the time of its first, those of the next its own.
func TestPiecesShareTheirTime(t *testing.T) {
	now := at
	w, path := newLog(t, Options{Now: func() time.Time { now = now.Add(time.Second); return now }})
	s := w.Stream("stdout")
	s.Write(bytes.Repeat([]byte("x"), MaxLine))
	s.Write([]byte("rest\n"))
	s.Write([]byte("next\n"))
	list := entries(t, path)
	if len(list) != 3 || !list[0].Time.Equal(list[1].Time) || !list[2].Time.After(list[1].Time) {
		t.Errorf("times: %v", list)
	}
}

func TestStreamsDoNotMix(t *testing.T) {
	w, path := newLog(t, Options{})
	out, errs := w.Stream("stdout"), w.Stream("stderr")
	out.Write([]byte("o1"))
	errs.Write([]byte("e1\n"))
	out.Write([]byte("o2\n"))
	got := fmt.Sprint(entries(t, path))
	if want := fmt.Sprint([]entry{{Log: "e1\n", Stream: "stderr", Time: at}, {Log: "o1o2\n", Stream: "stdout", Time: at}}); got != want {
		t.Errorf("got %s", got)
	}
}

func TestRotation(t *testing.T) {
	const size, lines = 1000, 200
	for _, files := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			w, path := newLog(t, Options{MaxSize: size, MaxFiles: files})
			s := w.Stream("stdout")
			var batch []byte
			for i := range lines {
				batch = fmt.Appendf(batch, "line %d\n", i)
				if i%7 == 0 {
					s.Write(batch)
					batch = nil
				}
			}
			s.Write(batch)
			found, err := filepath.Glob(path + "*")
			if err != nil || len(found) != files {
				t.Fatalf("files = %v, %v", found, err)
			}
			// From the newest back, nothing may be missing between the files.
			next := lines - 1
			for i := range files {
				name := path
				if i > 0 {
					name += fmt.Sprintf(".%d", i)
				}
				if info, err := os.Stat(name); err != nil || info.Size() > size {
					t.Errorf("%s: %v, %v", name, info.Size(), err)
				}
				list := entries(t, name)
				for j := len(list) - 1; j >= 0; j-- {
					if want := fmt.Sprintf("line %d\n", next); list[j].Log != want {
						t.Fatalf("%s: got %q, want %q", name, list[j].Log, want)
					}
					next--
				}
			}
		})
	}
}

func TestGoesOnWhereItEnded(t *testing.T) {
	w, path := newLog(t, Options{})
	w.Stream("stdout").Write([]byte("one\n"))
	w.Close()
	// A crash in the middle of a write leaves half an entry.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"log":"tor`)
	f.Close()
	w, _ = newLog(t, Options{Path: path})
	w.Stream("stdout").Write([]byte("two\n"))
	raw, _ := os.ReadFile(path)
	var good int
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		if json.Valid(s.Bytes()) {
			good++
		}
	}
	if good != 2 {
		t.Errorf("%d whole entries of 2:\n%s", good, raw)
	}
}

// A full disk loses entries, says so once, keeps the file whole, and goes on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small tmpfs: %v (needs root)", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	var warnings []string
	path := filepath.Join(dir, "json.log")
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	w, _ := newLog(t, Options{Path: path, Warn: func(s string) { warnings = append(warnings, s) }})
	s := w.Stream("stdout")
	line := []byte(strings.Repeat("x", 200) + "\n")
	for range 300 {
		s.Write(line)
	}
	before := len(entries(t, path))
	if before == 0 || before == 300 || w.lost != uint64(300-before) {
		t.Fatalf("%d entries written, %d counted as lost, of 300", before, w.lost)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "no space left") {
		t.Errorf("warnings = %q", warnings)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("again\n"))
	list := entries(t, path)
	if len(list) != before+2 || list[len(list)-1].Log != "again\n" || !strings.Contains(list[before].Log, fmt.Sprintf("%d log entries were lost", 300-before)) {
		t.Errorf("after the disk had room again: %+v", list[before:])
	}
}

func TestRelease(t *testing.T) {
	w, path := newLog(t, Options{Buffer: make([]byte, BufferSize)})
	s := w.Stream("stdout")
	s.Write([]byte("a\nhalf"))
	w.Release(s)
	s.Write([]byte(" whole\n"))
	list := entries(t, path)
	if len(list) != 2 || list[1].Log != "half whole\n" {
		t.Errorf("got %+v", list)
	}
}

func TestNoAllocationPerWrite(t *testing.T) {
	w, _ := newLog(t, Options{MaxSize: -1})
	s := w.Stream("stdout")
	data := bytes.Repeat([]byte("y\n"), 1<<15)
	if !utf8.Valid(data) {
		t.Fatal("bad data")
	}
	s.Write(data)
	if n := testing.AllocsPerRun(20, func() { s.Write(data) }); n > 0 {
		t.Errorf("%v allocations per write", n)
	}
}

func BenchmarkYes(b *testing.B) {
	path := filepath.Join(b.TempDir(), "json.log")
	w, err := Open(Options{Path: path})
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
