// Package logfile writes a container's output to files in one of Docker's two
// formats. json-file is one JSON object a line,
//
//	{"log":"text\n","stream":"stdout","time":"2026-11-24T06:00:00.123456789Z"}
//
// with "attrs" before "time" when the user asked for labels; local is described in
// local.go. A line above 16 KiB becomes several entries, of which only the last
// ends in a newline. Files are rotated by size: the current one is path, older ones
// path.1, path.2, …; the daemon may replace an old one by path.N.gz.
//
// It is used by the shim's event loop, so it is not safe for concurrent use,
// holds no reflection, and its buffers can be given back while nothing is
// written. The application comes first: a full disk loses log entries, which are
// counted and reported, and never stops the container.
package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxLine is the length at which Docker splits a line.
	MaxLine = 16 << 10
	// DefaultSize and DefaultFiles bound the log of a container by default.
	DefaultSize  = 20_000_000
	DefaultFiles = 5

	flushAt  = 64 << 10
	fileMode = 0o600

	// BufferSize is flushAt and one entry: a full line, each byte as six, and the
	// members around it.
	BufferSize = flushAt + 6*MaxLine + 4<<10
)

// Options of a log.
type Options struct {
	Path     string
	MaxSize  int64 // bytes of a file; 0 = DefaultSize, < 0 = no limit
	MaxFiles int   // with the current one; 0 = DefaultFiles
	Attrs    map[string]string
	Local    bool // the local format instead of json-file's
	// Compress tells that somebody replaces old files by compressed ones.
	Compress bool
	Warn     func(string) // called once per kind of trouble
	Now      func() time.Time
	// Buffer, if set, is the memory to collect entries in; BufferSize is enough
	// unless Attrs are long. After Release it may be given back to the kernel.
	Buffer []byte
}

// Writer is an open log.
type Writer struct {
	opt  Options
	fd   int
	size int64
	buf  []byte
	// entries counts what buf holds, lost what the disk had no room for.
	entries, lost uint64
	why           error
	torn          bool // the file ends in the middle of an entry
	warnedWrite   bool
	warnedRotate  bool
	attrs         []byte // `"attrs":{…},`, or fields of a local entry, or nothing
}

// Stream is one of the output streams of a log.
type Stream struct {
	w     *Writer
	head  string // `","stream":"stdout",`, or the first field of a local entry
	carry []byte // a line's beginning
	// tail is the rest of an entry behind the stream's name, made once per write.
	// split keeps that of a long line's first piece: its pieces carry one time.
	tail, split []byte
}

// Open opens or makes the log; new entries go behind what is there.
func Open(o Options) (*Writer, error) {
	if o.MaxSize == 0 {
		o.MaxSize = DefaultSize
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = DefaultFiles
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	w := &Writer{opt: o, fd: -1, buf: o.Buffer[:0]}
	if o.Local {
		w.attrs = localAttrs(o.Attrs)
	} else {
		w.attrs = attrsField(o.Attrs)
	}
	if err := w.open(0); err != nil {
		return nil, fmt.Errorf("open the container's log %s: %w", o.Path, err)
	}
	return w, nil
}

func (w *Writer) open(flags int) error {
	fd, err := unix.Open(w.opt.Path, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW|flags, fileMode)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	w.fd, w.size, w.torn = fd, st.Size, false
	if st.Size == 0 {
		return nil
	}
	if w.opt.Local {
		if !endsWhole(fd, st.Size) {
			w.size, w.torn = wholeSize(fd, st.Size), true
		}
		return nil
	}
	var last [1]byte
	n, err := unix.Pread(fd, last[:], st.Size-1)
	w.torn = err == nil && n == 1 && last[0] != '\n'
	return nil
}

// Stream makes a stream, "stdout" or "stderr".
func (w *Writer) Stream(name string) *Stream {
	if w.opt.Local {
		return &Stream{w: w, head: localHead(name)}
	}
	return &Stream{w: w, head: `","stream":"` + name + `",`}
}

// Write records p. Nothing is written before a line is complete or full.
func (s *Stream) Write(p []byte) {
	s.stamp()
	for len(p) > 0 {
		room := MaxLine - len(s.carry)
		i := indexNewline(p, room)
		switch {
		case i >= 0:
			s.entry(p[:i], true)
			p = p[i+1:]
		case len(p) < room:
			s.carry = append(s.carry, p...)
			p = nil
		default:
			s.piece(p[:room])
			p = p[room:]
		}
	}
	s.w.flush()
}

// Close records the rest of an unfinished line.
func (s *Stream) Close() {
	if len(s.carry) > 0 {
		s.stamp()
		s.entry(nil, false)
		s.w.flush()
	}
}

// indexNewline finds a newline among the first limit bytes of p.
func indexNewline(p []byte, limit int) int {
	if len(p) > limit {
		p = p[:limit]
	}
	return indexByte(p, '\n')
}

// piece records a full buffer without a newline. A character that the limit
// cuts goes to the next piece whole, where Docker would garble it.
func (s *Stream) piece(p []byte) {
	s.carry = append(s.carry, p...)
	cut := len(s.carry) - unfinishedRune(s.carry)
	rest := append([]byte(nil), s.carry[cut:]...)
	s.carry = s.carry[:cut]
	if s.split == nil {
		s.split = append([]byte(nil), s.tail...)
	}
	s.entry(nil, false)
	s.carry = append(s.carry, rest...)
}

// stamp makes the entries' tail with the present time.
func (s *Stream) stamp() {
	s.tail = append(s.tail[:0], s.w.attrs...)
	if s.w.opt.Local {
		s.tail = appendTime(s.tail, s.w.opt.Now())
		return
	}
	s.tail = append(s.tail, `"time":"`...)
	s.tail = s.w.opt.Now().UTC().AppendFormat(s.tail, time.RFC3339Nano)
	s.tail = append(s.tail, "\"}\n"...)
}

// entry appends one entry: what was carried, then p.
func (s *Stream) entry(p []byte, newline bool) {
	w := s.w
	if len(s.carry) > 0 {
		s.carry = append(s.carry, p...)
		p = s.carry
	}
	start := len(w.buf)
	tail := s.tail
	if s.split != nil {
		tail = s.split
	}
	w.buf = s.appendEntry(w.buf, p, tail, newline)
	if newline {
		s.split = nil
	}
	w.entries++
	s.carry = s.carry[:0]
	w.bound(start)
}

func (s *Stream) appendEntry(b, p, tail []byte, newline bool) []byte {
	if s.w.opt.Local {
		return appendLocal(b, s.head, tail, p, !newline)
	}
	b = append(b, `{"log":"`...)
	b = AppendEscaped(b, p)
	if newline {
		b = append(b, `\n`...)
	}
	b = append(b, s.head...)
	return append(b, tail...)
}

// bound keeps file and buffer within their sizes after an entry was appended at
// start.
func (w *Writer) bound(start int) {
	if w.opt.MaxSize > 0 && w.size+int64(len(w.buf)) > w.opt.MaxSize && w.size+int64(start) > 0 {
		entry := w.buf[start:]
		w.buf = w.buf[:start]
		w.entries--
		w.flush()
		w.rotate()
		// flush left buf's memory in place: the entry still lies at its old offset.
		w.buf = append(w.buf[:0], entry...)
		w.entries = 1
	}
	if len(w.buf) >= flushAt {
		w.flush()
	}
}

// flush writes the buffer, or counts its entries as lost.
func (w *Writer) flush() {
	if len(w.buf) == 0 {
		return
	}
	if w.lost > 0 {
		w.report()
	}
	if w.lost > 0 || !w.write(w.buf) {
		w.lost += w.entries
	}
	w.buf, w.entries = w.buf[:0], 0
}

// write appends b as a whole or not at all.
func (w *Writer) write(b []byte) bool {
	if w.torn {
		if err := w.mend(); err != nil {
			return w.failed(err)
		}
	}
	for done := 0; done < len(b); {
		n, err := unix.Write(w.fd, b[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			// Take back what was written of it: readers want whole entries.
			if done > 0 && unix.Ftruncate(w.fd, w.size) != nil {
				if !w.opt.Local {
					w.size += int64(done)
				}
				w.torn = true
			}
			return w.failed(err)
		}
		done += n
	}
	w.size += int64(len(b))
	return true
}

// mend makes the file end with a whole entry, or a line that is none.
func (w *Writer) mend() error {
	if w.opt.Local {
		if err := unix.Ftruncate(w.fd, w.size); err != nil {
			return err
		}
	} else {
		if _, err := unix.Write(w.fd, []byte{'\n'}); err != nil {
			return err
		}
		w.size++
	}
	w.torn = false
	return nil
}

func (w *Writer) failed(err error) bool {
	w.why = err
	if !w.warnedWrite {
		w.warnedWrite = true
		w.opt.Warn(fmt.Sprintf("log %s: %v; output is not recorded until it can be written again", w.opt.Path, err))
	}
	return false
}

// report records how many entries were lost, once there is room again.
func (w *Writer) report() {
	text := "sampan: " + strconv.FormatUint(w.lost, 10) + " log entries were lost here: " + w.why.Error()
	s := w.Stream("stderr")
	s.stamp()
	if w.write(s.appendEntry(nil, []byte(text), s.tail, true)) {
		w.lost, w.warnedWrite = 0, false
	}
}

// Dir is the log's directory.
func (w *Writer) Dir() string { return filepath.Dir(w.opt.Path) }

// Release gives the buffers' memory back; the next write makes new ones.
func (w *Writer) Release(streams ...*Stream) {
	w.buf = w.opt.Buffer[:0]
	for _, s := range streams {
		s.tail = nil
		if len(s.carry) == 0 {
			s.carry = nil
		}
	}
}

// Close closes the file. Streams must be closed before.
func (w *Writer) Close() error {
	if w.fd < 0 {
		return os.ErrClosed
	}
	w.flush()
	err := unix.Close(w.fd)
	w.fd = -1
	if w.lost > 0 {
		err = errors.Join(err, fmt.Errorf("log %s: the last %d entries were lost: %w", w.opt.Path, w.lost, w.why))
	}
	return err
}

func attrsField(attrs map[string]string) []byte {
	if len(attrs) == 0 {
		return nil
	}
	keys := make([]string, 0, len(attrs))
	for k := range attrs {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	b := []byte(`"attrs":{`)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = AppendEscaped(b, []byte(k))
		b = append(b, `":"`...)
		b = AppendEscaped(b, []byte(attrs[k]))
		b = append(b, '"')
	}
	return append(b, "},"...)
}
