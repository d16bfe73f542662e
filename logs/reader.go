// Package logs reads what containers wrote. The shim records it with
// logs/logfile; the daemon reads it here, from the end for a tail in constant
// time, and follows it over rotations for as long as somebody wants.
//
// A log that does not exist yet reads as empty. Lines that are no entry (a disk
// that was full, a crash in the middle of a write) are passed over.
package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
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
	// maxEntry bounds one line of a log file: 16 KiB of text, each byte as six,
	// and room for attributes.
	maxEntry = 1 << 20
	// rotations bounds the search for older files.
	rotations = 1 << 16
)

// Log is one container's log.
type Log struct{ path string }

// Open names the log whose current file is path.
func Open(path string) (*Log, error) {
	if path == "" {
		return nil, errors.New("open a container's log: no path")
	}
	return &Log{filepath.Clean(path)}, nil
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

	files   []*os.File // still to read, oldest first; the first is the current one
	end     int64      // without Follow: where the newest file ended at the time of the call
	buf     *bufio.Reader
	partial []byte // the beginning of a line whose end is not written yet
	skip    bool   // passing over a line that is too long
	line    []byte // scratch for the text of an entry
}

func (r *reader) close() {
	for _, f := range r.files {
		f.Close()
	}
}

func (r *reader) run() error {
	var watch *watcher
	if r.cfg.Follow {
		watch = newWatcher(r.ctx, filepath.Dir(r.log.path), r.cfg.Done, r.cfg.Until)
		defer watch.close()
	}
	var err error
	if r.files, err = r.log.openAll(); err != nil {
		return err
	}
	// What is written from here on belongs to a reader who follows: a container
	// that writes without end would keep a plain read busy for ever.
	if n := len(r.files); n > 0 {
		info, err := r.files[n-1].Stat()
		if err != nil {
			return fmt.Errorf("read the container's log: %w", err)
		}
		r.end = info.Size()
	}
	if err := r.seekTail(); err != nil {
		return err
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

// openAll opens the files, oldest first. It goes from the newest to the oldest:
// a rotation meanwhile then makes a file appear twice, which is noticed, and
// never lets one be missed. In the middle of a rotation one number is vacant.
func (l *Log) openAll() ([]*os.File, error) {
	var files []*os.File
	var last os.FileInfo
	for i, vacant := 0, 0; i < rotations && vacant < 2; i++ {
		path := l.path
		if i > 0 {
			path = fmt.Sprintf("%s.%d", l.path, i)
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			vacant++
			continue
		}
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("read the container's log: %w", err)
		}
		info, err := f.Stat()
		if err != nil || (last != nil && os.SameFile(last, info)) {
			f.Close()
			continue
		}
		last, vacant = info, 0
		files = append([]*os.File{f}, files...)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
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
		r.buf = bufio.NewReaderSize(source, blockSize)
	}
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
			return nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read the container's log: %w", err)
		}
	}
}

// source is the current file, up to where a plain read ends.
func (r *reader) source() (io.Reader, error) {
	f := r.files[0]
	if r.cfg.Follow || len(r.files) > 1 {
		return f, nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return io.LimitReader(f, max(r.end-at, 0)), err
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
	e, line, err := parse(b, r.line[:0])
	r.line = line
	if err != nil {
		return nil // no entry: see the package comment
	}
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
	if len(r.files) == 1 {
		cur, err := r.files[0].Stat()
		if err != nil {
			return false, fmt.Errorf("follow the container's log: %w", err)
		}
		now, err := os.Stat(r.log.path)
		if err != nil || os.SameFile(cur, now) {
			return false, nil // unchanged, or in the middle of a rotation
		}
		// Written between the last read and the rename, and nothing after it.
		if err := r.drain(); err != nil {
			return false, err
		}
	}
	return r.relist()
}

// relist finds the files that are newer than the current one.
func (r *reader) relist() (bool, error) {
	all, err := r.log.openAll()
	if err != nil || len(all) == 0 {
		return false, err
	}
	newer := all
	if len(r.files) == 1 {
		cur, err := r.files[0].Stat()
		if err != nil {
			closeAll(all)
			return false, fmt.Errorf("follow the container's log: %w", err)
		}
		for i, f := range all {
			if info, err := f.Stat(); err == nil && os.SameFile(cur, info) {
				closeAll(all[:i+1])
				newer = all[i+1:]
				break
			}
		}
	}
	if len(newer) == 0 {
		return false, nil
	}
	r.next(newer)
	return true, nil
}

func (r *reader) next(files []*os.File) {
	if len(r.files) > 0 {
		r.files[0].Close()
	}
	r.files, r.buf, r.partial, r.skip = files, nil, r.partial[:0], false
}
