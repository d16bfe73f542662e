// Package logs reads what containers wrote. The shim records it with
// logs/logfile; the daemon reads it here, from the end for a tail in constant
// time, and follows it over rotations for as long as somebody wants. Old files may
// be compressed meanwhile (logs/compact).
//
// A log that does not exist yet reads as empty. Lines that are no entry (a disk
// that was full, a crash in the middle of a write) are passed over; in the local
// format, which has no lines to begin anew at, so is the rest of that file.
package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/sampan-containers/sampan/logs/logfile"
)

// Entry is one recorded line, or a piece of a long one. Line ends in a newline
// unless the entry is a piece that goes on in the next one. Line is valid until
// the receiver returns.
type Entry struct {
	Stream string // "stdout" or "stderr"
	Time   time.Time
	Line   []byte
	Attrs  map[string]string
}

// ReadConfig selects entries.
type ReadConfig struct {
	Since, Until time.Time // zero = no bound; both are inclusive
	Tail         int       // number of last entries to begin with; < 0 = all
	Follow       bool      // wait for more
	// Done ends a following read once everything recorded has been delivered;
	// close it when the container's run is over.
	Done <-chan struct{}
}

const (
	blockSize = 64 << 10
	maxEntry  = logfile.MaxEntry
)

// Format is how entries lie in a file.
type Format int

// The formats of logs/logfile.
const (
	JSON Format = iota
	Local
)

// Log is one container's log.
type Log struct {
	path   string
	format Format
	step   func() // for tests: called before each look at a name
}

// Open names the log whose current file is path.
func Open(path string, format Format) (*Log, error) {
	if path == "" {
		return nil, errors.New("open a container's log: no path")
	}
	return &Log{path: filepath.Clean(path), format: format}, nil
}

// errStop ends a read without an error.
var errStop = errors.New("stop")

// Read delivers the selected entries in order. It returns nil at the end, the
// context's error when that ends first, or the receiver's error.
func (l *Log) Read(ctx context.Context, cfg ReadConfig, emit func(Entry) error) error {
	r := &reader{log: l, cfg: cfg, emit: emit, ctx: ctx}
	defer r.close()
	err := r.run()
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

type reader struct {
	log  *Log
	cfg  ReadConfig
	emit func(Entry) error
	ctx  context.Context // of one Read call

	files   []*part // still to read, oldest first; the first is the current one
	end     int64   // without Follow: where the newest file ended at the time of the call
	buf     *bufio.Reader
	partial []byte // the beginning of a line whose end is not written yet
	skip    bool   // passing over a line that is too long, or the rest of a file
	pass    int    // entries of the current file before the wanted ones
	line    []byte // scratch for the text of an entry
}

func (r *reader) close() { closeAll(r.files) }

func (r *reader) run() error {
	var watch *watcher
	if r.cfg.Follow {
		watch = newWatcher(r.ctx, filepath.Dir(r.log.path), r.cfg.Done, r.cfg.Until)
		defer watch.close()
	}
	if err := r.openFiles(); err != nil {
		return err
	}
	// What is written from here on belongs to a reader who follows: a container
	// that writes without end would keep a plain read busy for ever.
	if n := len(r.files); n > 0 && r.cfg.Tail < 0 {
		var err error
		if r.end, err = r.files[n-1].end(); err != nil {
			return fmt.Errorf("read the container's log: %w", err)
		}
	}
	if err := r.seekSince(); err != nil {
		return fmt.Errorf("find the beginning in the container's log: %w", err)
	}
	for {
		over := !r.cfg.Follow || watch.over()
		if err := r.drain(); err != nil {
			return err
		}
		switch moved, err := r.advance(); {
		case err != nil:
			return err
		case moved:
			continue
		case over:
			return r.ctx.Err()
		}
		if err := watch.wait(); err != nil {
			return err
		}
	}
}

// openFiles opens the files that are to be read, and moves to where that begins if it
// is a number of entries.
func (r *reader) openFiles() (err error) {
	if r.cfg.Tail < 0 {
		r.files, err = r.log.openAll()
		return err
	}
	if r.files, err = r.openTail(); err != nil {
		return fmt.Errorf("read the end of the container's log: %w", err)
	}
	return nil
}

// drain delivers everything that the current file holds.
func (r *reader) drain() error {
	if len(r.files) == 0 {
		return nil
	}
	if r.buf == nil {
		source, err := r.source()
		if err != nil {
			return fmt.Errorf("read the container's log: %w", err)
		}
		r.buf = bufio.NewReaderSize(source, r.bufferSize())
	}
	if r.log.format == Local {
		return r.drainFrames()
	}
	return r.drainLines()
}

func (r *reader) drainLines() error {
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		b, err := r.buf.ReadSlice('\n')
		switch {
		case err == nil:
			if err := r.whole(b); err != nil {
				return err
			}
			continue
		case len(r.partial)+len(b) > maxEntry:
			r.skip = true
			r.partial = r.partial[:0]
		default:
			r.partial = append(r.partial, b...)
		}
		if errors.Is(err, io.EOF) {
			n := len(r.partial)
			if r.rereads() {
				r.partial = r.partial[:0]
				return r.back(n)
			}
			return nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read the container's log: %w", err)
		}
	}
}

// rereads tells whether the beginning of an entry at the end of the current file is to
// be read again with its rest: a writer whose disk is full, or the next one after a
// crash, takes it back and writes something else there.
func (r *reader) rereads() bool { return r.cfg.Follow && !r.files[0].packed }

// back moves the current file's offset back by n.
func (r *reader) back(n int) error {
	if n == 0 {
		return nil
	}
	if _, err := r.files[0].f.Seek(-int64(n), io.SeekCurrent); err != nil {
		return fmt.Errorf("read the container's log: %w", err)
	}
	return nil
}

// source is the current file, up to where a plain read ends.
func (r *reader) source() (io.Reader, error) {
	p := r.files[0]
	if p.packed {
		return gzip.NewReader(p.f)
	}
	if r.cfg.Follow || len(r.files) > 1 {
		return p.f, nil
	}
	at, err := p.f.Seek(0, io.SeekCurrent)
	return io.LimitReader(p.f, max(r.end-at, 0)), err
}

// bufferSize is what a read of the current file needs: the end of a log is small.
func (r *reader) bufferSize() int {
	p := r.files[0]
	if p.packed || r.cfg.Follow || len(r.files) > 1 {
		return blockSize
	}
	at, err := p.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return blockSize
	}
	return int(min(max(r.end-at, 16), blockSize))
}

// whole handles the end of a line.
func (r *reader) whole(b []byte) error {
	if len(r.partial) > 0 {
		b = append(r.partial, b...)
		r.partial = b[:0]
	}
	if r.skip {
		r.skip = false
		return nil
	}
	if r.pass > 0 {
		r.pass--
		return nil
	}
	e, line, err := parse(b, r.line[:0])
	r.line = line
	if err != nil {
		return nil // no entry: see the package comment
	}
	return r.entry(e)
}

// entry delivers an entry if it lies between the bounds.
func (r *reader) entry(e Entry) error {
	if !r.cfg.Since.IsZero() && e.Time.Before(r.cfg.Since) {
		return nil
	}
	if !r.cfg.Until.IsZero() && e.Time.After(r.cfg.Until) {
		return errStop
	}
	return r.emit(e)
}

// advance moves to the next file if the current one is finished. It tells
// whether there may be more to read at once.
func (r *reader) advance() (bool, error) {
	if len(r.files) > 1 {
		r.next(r.files[1:])
		return true, nil
	}
	if !r.cfg.Follow {
		return false, nil
	}
	newer, err := r.newer()
	if errors.Is(err, errRotating) {
		return true, r.ctx.Err() // nothing is known until it goes on
	}
	if err != nil {
		return false, fmt.Errorf("follow the container's log: %w", err)
	}
	if len(newer) == 0 {
		return false, nil
	}
	// The next file begins when this one is finished, which may have been after
	// the last read.
	if err := r.drain(); err != nil {
		closeAll(newer)
		return false, err
	}
	r.next(newer)
	return true, nil
}

// newer opens the files behind the current one, oldest first.
func (r *reader) newer() ([]*part, error) {
	if len(r.files) == 0 {
		return r.log.openAll()
	}
	var list []*part
	for last := r.files[0]; len(list) < ahead; {
		q, gone, err := r.log.newer(last)
		if err != nil {
			closeAll(list)
			return nil, err
		}
		if gone && len(list) == 0 {
			return r.afterLost(last)
		}
		if q == nil {
			break
		}
		list = append(list, q)
		last = q
	}
	return list, nil
}

// afterLost opens the files behind one that has none of the log's names any more.
func (r *reader) afterLost(p *part) ([]*part, error) {
	all, err := r.log.openAll()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	n, err := p.links()
	if err != nil {
		closeAll(all)
		return nil, err
	}
	if n > 0 {
		// Moved by hand, not rotated away: the old files here are older than it.
		closeAll(all[:len(all)-1])
		all = all[len(all)-1:]
	}
	return all, nil
}

func (r *reader) next(files []*part) {
	if len(r.files) > 0 {
		r.files[0].f.Close()
	}
	r.files, r.buf, r.partial, r.skip, r.pass = files, nil, r.partial[:0], false, 0
}
