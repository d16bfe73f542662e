package content

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
)

func begin(t *testing.T, s *Store, text string) *Writer {
	t.Helper()
	w, err := s.Begin(t.Context(), digest.FromString(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func write(t *testing.T, w *Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func TestWriterContinuesAfterRestart(t *testing.T) {
	const text = "hello, world"
	root := t.TempDir()
	s := open(t, root)
	w := begin(t, s, text)
	write(t, w, text[:5])
	// The process is killed here: no Close.
	s = open(t, root)
	w = begin(t, s, text)
	if w.Offset() != 5 {
		t.Fatalf("Offset = %d", w.Offset())
	}
	if got, err := io.ReadAll(w.Partial()); err != nil || string(got) != text[:5] {
		t.Fatalf("Partial = %q, %v", got, err)
	}
	write(t, w, text[5:])
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	d := digest.FromString(text)
	if s.Has(d) {
		t.Error("visible before Publish")
	}
	if err := s.Publish(w); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(d, 100); err != nil || string(got) != text {
		t.Errorf("Read = %q, %v", got, err)
	}
	if err := s.Delete(d); err != nil || !s.Has(d) {
		t.Errorf("a held blob was deleted (%v)", err)
	}
	s.Release(d)
	if err := s.Delete(d); err != nil || s.Has(d) {
		t.Errorf("a released blob stays (%v)", err)
	}
	if n := ingesting(t, s); n != 0 {
		t.Errorf("%d files left", n)
	}
}

func TestWriterRefusesWhatIsNotTheBlob(t *testing.T) {
	s := open(t, t.TempDir())
	w := begin(t, s, "right")
	defer w.Close()
	write(t, w, "wrong")
	err := w.Finish()
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), digest.FromString("right").String()) || !strings.Contains(err.Error(), digest.FromString("wrong").String()) {
		t.Errorf("Finish = %v", err)
	}
	if w.Offset() != 0 {
		t.Errorf("Offset = %d after a mismatch", w.Offset())
	}
	write(t, w, "righ")
	if err := w.Finish(); !errors.Is(err, fault.Invalid) {
		t.Errorf("Finish of a short blob = %v", err)
	}
	if _, err := io.WriteString(w, "tt"); !errors.Is(err, fault.Invalid) {
		t.Errorf("Write of too much = %v", err)
	}
	write(t, w, "t")
	if err := w.Finish(); err != nil {
		t.Error(err)
	}
}

func TestOneWriterADigest(t *testing.T) {
	s := open(t, t.TempDir())
	first := begin(t, s, "x")
	second := make(chan *Writer)
	go func() {
		w, _ := s.Begin(t.Context(), digest.FromString("x"), 1)
		second <- w
	}()
	select {
	case <-second:
		t.Fatal("two writers of one blob")
	case <-time.After(20 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	w := <-second
	if w == nil {
		t.Fatal("the second writer got nothing")
	}
	if err := w.Abandon(); err != nil {
		t.Fatal(err)
	}
	if n := ingesting(t, s); n != 0 {
		t.Errorf("%d files left", n)
	}
}

func TestOpenDropsOldBeginnings(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	w := begin(t, s, "hello")
	write(t, w, "he")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * partialAge)
	if err := os.Chtimes(s.partial(digest.FromString("hello")), old, old); err != nil {
		t.Fatal(err)
	}
	if n := ingesting(t, open(t, root)); n != 0 {
		t.Errorf("%d files left", n)
	}
}
