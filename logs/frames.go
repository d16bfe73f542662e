package logs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sampan-containers/sampan/logs/logfile"
)

// drainFrames delivers everything that the current file holds, in the local format.
func (r *reader) drainFrames() error {
	for !r.skip {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		n, err := r.frameSize()
		if err != nil {
			return r.frameFault(err)
		}
		if n == 0 {
			return nil
		}
		whole := n + 2*logfile.LengthSize
		if whole > r.buf.Size() {
			r.buf = bufio.NewReaderSize(r.buf, whole)
		}
		b, err := r.buf.Peek(whole)
		if err != nil {
			return r.frameFault(err)
		}
		if int(binary.BigEndian.Uint32(b[whole-logfile.LengthSize:])) != n {
			r.skip = true
			return nil
		}
		if r.pass > 0 {
			r.pass--
		} else if err := r.frame(b[logfile.LengthSize : whole-logfile.LengthSize]); err != nil {
			return err
		}
		if _, err := r.buf.Discard(whole); err != nil {
			return readFault(err)
		}
	}
	return nil
}

// frameFault handles that an entry cannot be read wholly, or not yet.
func (r *reader) frameFault(err error) error {
	if errors.Is(err, io.EOF) && r.rereads() {
		n := r.buf.Buffered()
		if n > 0 {
			r.buf = nil
		}
		return r.back(n)
	}
	return readFault(err)
}

// frameSize is the length of the next entry; 0: the rest of the file holds none.
func (r *reader) frameSize() (int, error) {
	head, err := r.buf.Peek(logfile.LengthSize)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head)
	if n == 0 || n > logfile.MaxEntry {
		r.skip = true
		return 0, nil
	}
	return int(n), nil
}

// readFault is the error of a read, without the end of what is written.
func readFault(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read the container's log: %w", err)
}

func (r *reader) frame(b []byte) error {
	raw, ok := logfile.ParseLocal(b)
	if !ok {
		return nil
	}
	e := Entry{Time: time.Unix(0, raw.Time).UTC(), Attrs: raw.Attrs}
	switch string(raw.Stream) {
	case "stdout":
		e.Stream = "stdout"
	case "stderr":
		e.Stream = "stderr"
	default:
		return nil
	}
	r.line = append(r.line[:0], raw.Text...)
	if !raw.Partial {
		r.line = append(r.line, '\n')
	}
	e.Line = r.line
	return r.entry(e)
}

// errTorn tells that a file does not end with a whole entry.
var errTorn = errors.New("the file ends in the middle of an entry")

// lastFrames is lastLines for the local format.
func lastFrames(f *os.File, end int64, n int) (offset int64, found int, err error) {
	w := window{f: f}
	for pos := end; ; found++ {
		if pos == 0 || found == n {
			return pos, found, nil
		}
		size, ok, err := w.length(pos - logfile.LengthSize)
		if err != nil {
			return 0, 0, err
		}
		start := pos - size - 2*logfile.LengthSize
		if !ok || start < 0 {
			return 0, 0, errTorn
		}
		first, ok, err := w.length(start)
		if err != nil {
			return 0, 0, err
		}
		if !ok || first != size {
			return 0, 0, errTorn
		}
		pos = start
	}
}

// window reads a file backwards by blocks.
type window struct {
	f     *os.File
	block [blockSize]byte
	from  int64
	held  int64
}

func (w *window) length(at int64) (n int64, ok bool, err error) {
	if at < 0 {
		return 0, false, nil
	}
	if at < w.from || at+logfile.LengthSize > w.from+w.held {
		w.from = max(at+logfile.LengthSize-blockSize, 0)
		w.held = at + logfile.LengthSize - w.from
		if _, err := w.f.ReadAt(w.block[:w.held], w.from); err != nil {
			w.held = 0
			return 0, false, err
		}
	}
	n = int64(binary.BigEndian.Uint32(w.block[at-w.from:]))
	return n, n > 0 && n <= logfile.MaxEntry, nil
}
