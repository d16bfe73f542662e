package terminal

import (
	"io"
	"os"

	"github.com/moby/term"
)

// In is standard input.
type In struct {
	io.Reader
	fd  uintptr
	tty bool
}

// NewIn wraps r; only an *os.File can be a terminal.
func NewIn(r io.Reader) *In {
	in := &In{Reader: r}
	if f, ok := r.(*os.File); ok {
		in.fd, in.tty = f.Fd(), term.IsTerminal(f.Fd())
	}
	return in
}

// IsTerminal tells whether the stream is a terminal.
func (i *In) IsTerminal() bool { return i.tty }

// FD is the descriptor of a terminal.
func (i *In) FD() uintptr { return i.fd }

// Out is standard output or standard error. Write passes bytes as they are,
// which is right for a container's stream; Text is for everything else.
type Out struct {
	io.Writer
	text io.Writer
	fd   uintptr
	tty  bool
}

// NewOut wraps w; only an *os.File can be a terminal.
func NewOut(w io.Writer) *Out {
	out := &Out{Writer: w, text: w}
	if f, ok := w.(*os.File); ok {
		out.fd, out.tty = f.Fd(), term.IsTerminal(f.Fd())
		if out.tty {
			out.text = &cleaner{w: w}
		}
	}
	return out
}

// IsTerminal tells whether the stream is a terminal.
func (o *Out) IsTerminal() bool { return o.tty }

// Text is the same stream with control bytes escaped if it is a terminal.
func (o *Out) Text() io.Writer { return o.text }

// Size is the terminal's height and width, or zeros.
func (o *Out) Size() (height, width uint) {
	if !o.tty {
		return 0, 0
	}
	ws, err := term.GetWinsize(o.fd)
	if err != nil {
		return 0, 0
	}
	return uint(ws.Height), uint(ws.Width)
}
