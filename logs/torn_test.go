package logs

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/sampan-containers/sampan/logs/logfile"
)

// A writer takes the beginning of an entry back when the disk is full or after a
// crash. Who follows may have read it.
func TestFollowOverWhatIsTakenBack(t *testing.T) {
	for _, o := range []logfile.Options{{}, {Local: true}} {
		t.Run(fmt.Sprintf("local=%v", o.Local), func(t *testing.T) {
			_, s, path := newWriter(t, o)
			s.Write([]byte("one\n"))
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write(whole[:len(whole)/2]); err != nil {
				t.Fatal(err)
			}
			l, err := Open(path, formatOf(path))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			done, taken := make(chan struct{}), false
			// The first look at a name after the first entry comes when the file was
			// read to its end.
			l.step = func() {
				if len(got) == 0 || taken {
					return
				}
				taken = true
				if err := f.Truncate(int64(len(whole))); err != nil {
					t.Error(err)
				}
				s.Write([]byte("two\nthree\n"))
				close(done)
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			err = l.Read(ctx, ReadConfig{Tail: -1, Follow: true, Done: done}, func(e Entry) error {
				got = append(got, string(e.Line))
				return nil
			})
			if want := "[one\n two\n three\n]"; err != nil || fmt.Sprint(got) != want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
