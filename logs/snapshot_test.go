package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A plain read ends where the log ended at the time of the call, however much is
// written meanwhile.
func TestPlainReadIsASnapshot(t *testing.T) {
	const line = `{"log":"x\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n"
	for name, tt := range map[string]struct{ tail, want int }{"all": {-1, 3}, "two": {2, 2}, "more than there are": {9, 3}, "none": {0, 0}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "json.log")
			f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			// The end of the last line is not written yet.
			if _, err := f.WriteString(strings.Repeat(line, 3) + line[:20]); err != nil {
				t.Fatal(err)
			}
			log, err := Open(path, JSON)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			err = log.Read(t.Context(), ReadConfig{Tail: tt.tail}, func(Entry) error {
				n++
				if n == 1 {
					_, err = f.WriteString(line[20:])
				} else {
					_, err = f.WriteString(line)
				}
				return err
			})
			if err != nil || n != tt.want {
				t.Errorf("%d entries, %v; want %d", n, err, tt.want)
			}
		})
	}
}
