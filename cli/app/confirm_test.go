package app

import (
	"io"
	"strings"
	"syscall"
	"testing"
)

// asked sends a signal to this process when a question was printed.
type asked struct {
	strings.Builder
	signal syscall.Signal
}

func (w *asked) Write(b []byte) (int, error) {
	n, err := w.Builder.Write(b)
	if w.signal != 0 && strings.HasSuffix(w.String(), "[y/N] ") {
		err = syscall.Kill(syscall.Getpid(), w.signal)
	}
	return n, err
}

func TestConfirm(t *testing.T) {
	silent, end := io.Pipe()
	defer end.Close()
	for name, tt := range map[string]struct {
		in     io.Reader
		signal syscall.Signal
		want   bool
		tail   string
	}{
		"yes":    {strings.NewReader("Yes\n"), 0, true, "[y/N] "},
		"no":     {strings.NewReader("n\n"), 0, false, "[y/N] "},
		"end":    {strings.NewReader(""), 0, false, "[y/N] "},
		"^C":     {silent, syscall.SIGINT, false, "[y/N] \n"},
		"killed": {silent, syscall.SIGTERM, false, "[y/N] \n"},
	} {
		t.Run(name, func(t *testing.T) {
			out := &asked{signal: tt.signal}
			ok, err := New("sampan", tt.in, out, io.Discard).Confirm(t.Context(), "Really?")
			if ok != tt.want || err != nil || !strings.HasSuffix(out.String(), tt.tail) {
				t.Errorf("%v, %v, printed %q", ok, err, out.String())
			}
		})
	}
}
