package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/logs/logfile"
)

// A search by time in a large file finds what reading all of it finds.
func TestSinceInALargeFile(t *testing.T) {
	const lines = 20000 // more than a megabyte
	_, s, path := newWriter(t, logfile.Options{MaxSize: -1})
	for _, line := range numbers(0, lines) {
		s.Write([]byte(line))
	}
	for _, tc := range []struct{ since, tail, from int }{
		{0, -1, 0}, {1, -1, 1}, {7, -1, 7}, {lines / 2, -1, lines / 2}, {12345, -1, 12345}, {lines - 1, -1, lines - 1}, {lines, -1, lines}, {-5, -1, 0},
		{10, 19000, 1000}, {15000, 19000, 15000}, {15000, 10, lines - 10},
	} {
		t.Run(fmt.Sprintf("since %d of the last %d", tc.since, tc.tail), func(t *testing.T) {
			got := read(t, path, ReadConfig{Tail: tc.tail, Since: t0.Add(time.Duration(tc.since) * time.Second)})
			if len(got) != lines-tc.from || len(got) > 0 && got[0] != fmt.Sprintf("line %d\n", tc.from) {
				t.Errorf("%d lines, want %d from %d on", len(got), lines-tc.from, tc.from)
			}
		})
	}
}

// Long lines and damage do not lead the search astray.
func TestSinceAmongLongLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "json.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	junk := make([]byte, 300<<10) // NUL bytes, as after a power cut
	for i := range 40 {
		fmt.Fprintf(f, `{"log":"%d\n","stream":"stdout","time":"%s"}`+"\n", i, t0.Add(time.Duration(i)*time.Minute).Format(time.RFC3339))
		f.Write(junk)
		f.Write([]byte("\n"))
	}
	for _, since := range []int{0, 1, 20, 39} {
		if got := read(t, path, ReadConfig{Tail: -1, Since: t0.Add(time.Duration(since) * time.Minute)}); len(got) != 40-since || got[0] != fmt.Sprintf("%d\n", since) {
			t.Errorf("since %d: %d lines, the first %q", since, len(got), got[0])
		}
	}
}

// A local log that a crash has cut is read up to there, from either end.
func TestTornLocalLog(t *testing.T) {
	w, s, path := newWriter(t, logfile.Options{Local: true})
	for _, line := range numbers(0, 100) {
		s.Write([]byte(line))
	}
	w.Close()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("\x00\x00\x00\x20half an entry")
	f.Close()
	for _, tc := range []struct{ tail, from int }{{-1, 0}, {10, 90}, {0, 100}, {1000, 0}} {
		got := read(t, path, ReadConfig{Tail: tc.tail})
		if len(got) != 100-tc.from || len(got) > 0 && got[0] != fmt.Sprintf("line %d\n", tc.from) {
			t.Errorf("tail %d: %d lines %.40q", tc.tail, len(got), got)
		}
	}
}
