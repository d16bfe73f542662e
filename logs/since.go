package logs

import (
	"bufio"
	"io"
	"time"
)

// sinceSlack is how far before its bound a search by time stops: the clock may
// have been set back by an adjustment while the log was written.
const sinceSlack = 2 * time.Second

// seekSince passes over what was written before cfg.Since without reading it:
// whole files by the time of their last write, and in a large file of lines all but
// some blocks, by bisection. What is read then is still compared one by one.
func (r *reader) seekSince() error {
	if r.cfg.Since.IsZero() {
		return nil
	}
	bound := r.cfg.Since.Add(-sinceSlack)
	for len(r.files) > 1 && r.files[0].info.ModTime().Before(bound) {
		r.next(r.files[1:])
	}
	if len(r.files) == 0 || r.files[0].packed || r.log.format != JSON || r.pass > 0 {
		return nil
	}
	f := r.files[0].f
	low, err := f.Seek(0, io.SeekCurrent) // where a tail begins
	if err != nil {
		return err
	}
	high := r.endOf(r.files[0])
	for high-low > 4*blockSize {
		middle := low + (high-low)/2
		start, at, ok := lineAfter(io.NewSectionReader(f, middle, min(high-middle, 2*blockSize)))
		if !ok {
			break // one line that is longer, or damage: read from here on
		}
		if at.Before(bound) {
			low = middle + start
		} else {
			high = middle
		}
	}
	_, err = f.Seek(low, io.SeekStart)
	return err
}

// lineAfter finds the first whole entry after a line's end.
func lineAfter(source io.Reader) (start int64, at time.Time, ok bool) {
	b := bufio.NewReaderSize(source, 2*blockSize)
	skipped, err := b.ReadSlice('\n')
	if err != nil {
		return 0, at, false
	}
	start = int64(len(skipped))
	for {
		line, err := b.ReadSlice('\n')
		if err != nil {
			return 0, at, false
		}
		if e, _, err := parse(line, nil); err == nil {
			return start, e.Time, true
		}
		start += int64(len(line))
	}
}
