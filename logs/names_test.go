package logs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/logs/compact"
	"github.com/sampan-containers/sampan/logs/logfile"
)

const perFile = 4 // lines

// shifter does what logs/logfile and logs/compact do to a log's names, one system
// call at a time, so that a test decides what happens between those of a reader.
type shifter struct {
	t     *testing.T
	path  string
	files int
	pack  bool
	line  int // the next one
	last  int // as many are written
	lock  int
	todo  []func()
	rng   *rand.Rand
}

func (s *shifter) check(err error) {
	s.t.Helper()
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
}

func (s *shifter) name(n int) string {
	if n == 0 {
		return s.path
	}
	return s.path + "." + strconv.Itoa(n)
}

// write appends half a file.
func (s *shifter) write() {
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	s.check(err)
	defer f.Close()
	for range perFile / 2 {
		_, err := fmt.Fprintf(f, `{"log":"line %d\n","stream":"stdout","time":"2026-11-24T06:00:00Z"}`+"\n", s.line)
		s.check(err)
		s.line++
	}
}

func (s *shifter) locked() bool {
	fd, err := logfile.LockDir(filepath.Dir(s.path), unix.LOCK_EX)
	s.lock = fd
	return err == nil
}

// plan lists the steps of what comes next: a rotation, or a compression.
func (s *shifter) plan() {
	if s.pack && s.rng.IntN(3) == 0 {
		s.compress()
		return
	}
	s.todo = append(s.todo, s.write, func() {
		if s.pack && !s.locked() {
			s.todo = nil // the reader has the lock: with the next entry, then
		}
	})
	for i := s.files - 1; i > 0; i-- {
		if s.pack {
			s.todo = append(s.todo, func() { s.check(os.Rename(s.name(i-1)+".gz", s.name(i)+".gz")) })
		}
		s.todo = append(s.todo, func() { s.check(os.Rename(s.name(i-1), s.name(i))) })
	}
	s.todo = append(s.todo, s.write)
	if s.pack {
		s.todo = append(s.todo, func() { unix.Close(s.lock) })
	}
}

// compress replaces some old file, as package compact does.
func (s *shifter) compress() {
	n := 1 + s.rng.IntN(4)
	text, err := os.ReadFile(s.name(n))
	if err != nil || !s.locked() {
		return
	}
	info, err := os.Stat(s.name(n))
	s.check(err)
	o := compact.OriginOf(info)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Extra = []byte("Sp\x18\x00")
	for _, v := range []uint64{o.Inode, uint64(o.Size), uint64(o.Time)} {
		z.Extra = binary.LittleEndian.AppendUint64(z.Extra, v)
	}
	_, err = z.Write(text)
	s.check(err)
	s.check(z.Close())
	tmp := filepath.Join(filepath.Dir(s.path), "compressing")
	s.check(os.WriteFile(tmp, b.Bytes(), 0o600))
	s.todo = append(s.todo,
		func() { s.check(os.Rename(tmp, s.name(n)+".gz")) },
		func() { s.check(os.Remove(s.name(n))) },
		func() { unix.Close(s.lock) })
}

// step does the next n system calls.
func (s *shifter) step(n int) {
	for ; n > 0 && (s.line < s.last || len(s.todo) > 0); n-- {
		if len(s.todo) == 0 {
			s.plan()
			continue
		}
		next := s.todo[0]
		s.todo = s.todo[1:]
		next()
	}
}

// However far the names shift between two looks at them, a reader delivers each line
// once and in order. Only what was rotated away unread is missing.
func TestNamesShiftBetweenLooks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		files  int
		pack   bool
		follow bool
	}{
		{"follow", 30, false, true},
		{"follow compressed files", 30, true, true},
		{"follow, few files", 3, false, true},
		{"follow, few compressed files", 3, true, true},
		{"plain", 30, false, false},
		{"plain, compressed files", 30, true, false},
	} {
		for seed := range uint64(15) {
			t.Run(fmt.Sprintf("%s, seed %d", tt.name, seed), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 0))
				s := &shifter{t: t, path: filepath.Join(t.TempDir(), "json.log"), files: tt.files, pack: tt.pack, last: 25 * perFile, rng: rng}
				s.write()
				s.step(rng.IntN(400))
				readShifting(t, s, tt.follow)
			})
		}
	}
}

func readShifting(t *testing.T, s *shifter, follow bool) {
	most := []int{3, 40, 200}[s.rng.IntN(3)]
	done, over := make(chan struct{}), false
	l, err := Open(s.path, JSON)
	if err != nil {
		t.Fatal(err)
	}
	l.step = func() {
		s.step(1 + s.rng.IntN(most))
		// A reader that waits sees this and goes on, step by step.
		s.check(os.WriteFile(filepath.Join(filepath.Dir(s.path), "other"), []byte("x"), 0o600))
		if !over && s.line >= s.last && len(s.todo) == 0 {
			over = true
			close(done)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	next, before := 0, s.line
	err = l.Read(ctx, ReadConfig{Tail: -1, Follow: follow, Done: done}, func(e Entry) error {
		var got int
		if _, err := fmt.Sscanf(string(e.Line), "line %d\n", &got); err != nil {
			return err
		}
		if got < next || got > next && s.files > 25 {
			return fmt.Errorf("got line %d, want %d", got, next)
		}
		next = got + 1
		return nil
	})
	if err != nil || follow && next != s.line || next < before {
		t.Errorf("up to line %d of %d, %d at the beginning: %v", next, s.line, before, err)
	}
}
