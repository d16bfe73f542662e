package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/logs/compact"
	"github.com/sampan-containers/sampan/logs/logfile"
)

const within = 30 * time.Second

var t0 = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

// newWriter writes one entry a second from t0 on.
func newWriter(t *testing.T, o logfile.Options) (*logfile.Writer, *logfile.Stream, string) {
	t.Helper()
	if o.Path == "" {
		name := "json.log"
		if o.Local {
			name = "local.log"
		}
		o.Path = filepath.Join(t.TempDir(), name)
	}
	now := t0.Add(-time.Second)
	o.Now = func() time.Time { now = now.Add(time.Second); return now }
	w, err := logfile.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, w.Stream("stdout"), o.Path
}

// formatOf tells the format by the file's name, as the daemon chooses it.
func formatOf(path string) Format {
	if filepath.Base(path) == "local.log" {
		return Local
	}
	return JSON
}

// compressAll compresses the old files, and waits until it is done.
func compressAll(t *testing.T, path string) {
	t.Helper()
	c := compact.New(slog.New(slog.DiscardHandler))
	c.Watch(path, true)
	defer c.Close()
	for end := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		plain, _ := filepath.Glob(path + ".*[0-9]")
		packed, _ := filepath.Glob(path + ".*.gz")
		if len(plain) == 0 && len(packed) > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not compressed: %v", plain)
		}
	}
}

func read(t *testing.T, path string, cfg ReadConfig) []string {
	t.Helper()
	l, err := Open(path, formatOf(path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var got []string
	err = l.Read(ctx, cfg, func(e Entry) error {
		got = append(got, string(e.Line))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func numbers(from, to int) []string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("line %d\n", i))
	}
	return list
}

func TestRead(t *testing.T) {
	for _, kind := range []string{"json", "json rotated", "json compressed", "local", "local rotated", "local compressed"} {
		o := logfile.Options{MaxFiles: 100, Local: strings.HasPrefix(kind, "local")}
		if strings.Contains(kind, " ") {
			o.MaxSize = 500
		}
		_, s, path := newWriter(t, o)
		for _, line := range numbers(0, 100) {
			s.Write([]byte(line))
		}
		if strings.HasSuffix(kind, "compressed") {
			compressAll(t, path)
		}
		at := func(i int) time.Time { return t0.Add(time.Duration(i) * time.Second) }
		for _, tc := range []struct {
			name     string
			cfg      ReadConfig
			from, to int
		}{
			{"all", ReadConfig{Tail: -1}, 0, 100},
			{"none", ReadConfig{Tail: 0}, 100, 100},
			{"the last", ReadConfig{Tail: 1}, 99, 100},
			{"the last 37", ReadConfig{Tail: 37}, 63, 100},
			{"all by number", ReadConfig{Tail: 100}, 0, 100},
			{"more than there are", ReadConfig{Tail: 1000}, 0, 100},
			{"since", ReadConfig{Tail: -1, Since: at(90)}, 90, 100},
			{"until", ReadConfig{Tail: -1, Until: at(9)}, 0, 10},
			{"between", ReadConfig{Tail: -1, Since: at(10), Until: at(19)}, 10, 20},
			{"tail, then since", ReadConfig{Tail: 20, Since: at(95)}, 95, 100},
			{"since in the future", ReadConfig{Tail: -1, Since: at(1000)}, 100, 100},
			{"follow until the past", ReadConfig{Tail: -1, Follow: true, Until: at(4)}, 0, 5},
		} {
			t.Run(kind+", "+tc.name, func(t *testing.T) {
				if got, want := strings.Join(read(t, path, tc.cfg), ""), strings.Join(numbers(tc.from, tc.to), ""); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
}

func TestMissingLogIsEmpty(t *testing.T) {
	if got := read(t, filepath.Join(t.TempDir(), "json.log"), ReadConfig{Tail: -1}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// Everything written while a reader follows arrives once and in order, over
// hundreds of rotations.
func TestFollow(t *testing.T) {
	const lines = 5000
	for _, o := range []logfile.Options{
		{MaxFiles: 1000}, {MaxFiles: 5}, {MaxFiles: 1000, Local: true}, {MaxFiles: 5, Local: true},
		{MaxFiles: 1000, Compress: true}, {MaxFiles: 1000, Compress: true, Local: true},
	} {
		t.Run(fmt.Sprintf("%d files, local=%v, compress=%v", o.MaxFiles, o.Local, o.Compress), func(t *testing.T) {
			files := o.MaxFiles
			o.MaxSize = 5000
			_, s, path := newWriter(t, o)
			if o.Compress {
				c := compact.New(slog.New(slog.DiscardHandler))
				c.Watch(path, true)
				defer c.Close()
			}
			done := make(chan struct{})
			seen := make(chan int, lines)
			go func() {
				defer close(done)
				for i, line := range numbers(0, lines) {
					s.Write([]byte(line))
					// With few files the writer must not rotate unread ones away.
					for files < 100 && i%20 == 0 && i > 0 && <-seen < i-20 {
					}
				}
			}()
			l, err := Open(path, formatOf(path))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			next := 0
			err = l.Read(ctx, ReadConfig{Tail: -1, Follow: true, Done: done}, func(e Entry) error {
				if want := fmt.Sprintf("line %d\n", next); string(e.Line) != want {
					return fmt.Errorf("got %q, want %q", e.Line, want)
				}
				seen <- next
				next++
				return nil
			})
			if err != nil || next != lines {
				t.Errorf("%d lines of %d, %v", next, lines, err)
			}
		})
	}
}

func TestFollowBeginsBeforeTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "json.log")
	done := make(chan struct{})
	go func() {
		time.Sleep(20 * time.Millisecond)
		_, s, _ := newWriter(t, logfile.Options{Path: path})
		s.Write([]byte("first\n"))
		close(done)
	}()
	if got := read(t, path, ReadConfig{Tail: 10, Follow: true, Done: done}); fmt.Sprint(got) != "[first\n]" {
		t.Errorf("got %q", got)
	}
}

func TestReadEnds(t *testing.T) {
	_, s, path := newWriter(t, logfile.Options{})
	s.Write([]byte("a\nb\n"))
	l, err := Open(path, formatOf(path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := l.Read(ctx, ReadConfig{Tail: -1, Follow: true}, func(Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	broken := errors.New("the client left")
	n := 0
	if err := l.Read(context.Background(), ReadConfig{Tail: -1, Follow: true}, func(Entry) error { n++; return broken }); !errors.Is(err, broken) || n != 1 {
		t.Errorf("after the receiver's error: %v, %d calls", err, n)
	}
}

// Lines that are no entry are passed over, whatever they are.
func TestDamagedLog(t *testing.T) {
	good, err := json.Marshal(map[string]any{"log": "other\u2028 order\n", "time": t0, "stream": "stderr", "attrs": map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	raw := strings.Join([]string{
		`{"log":"one\n","stream":"stdout","time":"2026-11-24T06:00:00Z"}`,
		`{"log":"torn`,
		"", "null", "[]", "\x00\x00\x00", `{"log":"x","stream":"stdout","time":"yesterday"}`,
		`{"log":"` + strings.Repeat("y", 3<<20) + `","stream":"stdout","time":"2026-11-24T06:00:00Z"}`,
		`{"log":"\ud834\udd1e\n","stream":"stdout","attrs":{"k":"v"},"time":"2026-11-24T06:00:00.5Z"}`,
		string(good),
		`{"log":"half at the end","stream":"std`,
	}, "\n")
	path := filepath.Join(t.TempDir(), "json.log")
	if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path, ReadConfig{Tail: -1}); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", []string{"one\n", "𝄞\n", "other\u2028 order\n"}) {
		t.Errorf("got %q", got)
	}
}

// Whatever a container writes comes back, up to what is not UTF-8.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("a\x00b\r\n{\"log\":\"fake\\n\",\"stream\":\"stderr\"}\n\\u0041 <>&\u2028é"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, s, path := newWriter(t, logfile.Options{Attrs: map[string]string{"k": `,"time":"`}})
		s.Write(text)
		s.Close()
		want := strings.ToValidUTF8(string(text), "")
		got := strings.ReplaceAll(strings.Join(read(t, path, ReadConfig{Tail: -1}), ""), "\ufffd", "")
		if got != strings.ReplaceAll(want, "\ufffd", "") {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// A tail of a large log reads its end alone.
func TestTailReadsTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "json.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	// A hole of 100 GB in front: reading it would take minutes.
	if _, err := f.WriteAt([]byte("\n"+`{"log":"end\n","stream":"stdout","time":"2026-11-24T06:00:00Z"}`+"\n"), 100<<30); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	f.Close()
	if got := read(t, path, ReadConfig{Tail: 1}); fmt.Sprint(got) != "[end\n]" {
		t.Errorf("got %q", got)
	}
}
