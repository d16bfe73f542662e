package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// seekTail drops the files before the last cfg.Tail entries and moves to the
// first of these. It reads no more than those entries and one block.
func (r *reader) seekTail() error {
	if r.cfg.Tail < 0 {
		return nil
	}
	want := r.cfg.Tail
	for i := len(r.files) - 1; i >= 0; i-- {
		f := r.files[i]
		end := r.end
		if i < len(r.files)-1 {
			info, err := f.Stat()
			if err != nil {
				return fmt.Errorf("read the end of the container's log: %w", err)
			}
			end = info.Size()
		}
		offset, found, err := lastLines(f, end, want)
		if err != nil {
			return fmt.Errorf("read the end of the container's log: %w", err)
		}
		want -= found
		if want > 0 {
			continue
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return fmt.Errorf("read the end of the container's log: %w", err)
		}
		closeAll(r.files[:i])
		r.files = r.files[i:]
		return nil
	}
	return nil
}

// lastLines finds the offset of the last n lines of f before end, and how many
// of them there are. An unfinished last line does not count.
func lastLines(f *os.File, end int64, n int) (offset int64, found int, err error) {
	var block [blockSize]byte
	// The newline that begins the wanted part is the one before n further ones.
	seen := 0
	for pos := end; pos > 0; {
		size := min(pos, blockSize)
		pos -= size
		b := block[:size]
		if _, err := f.ReadAt(b, pos); err != nil {
			return 0, 0, err
		}
		for {
			i := bytes.LastIndexByte(b, '\n')
			if i < 0 {
				break
			}
			if seen == n {
				return pos + int64(i) + 1, n, nil
			}
			seen++
			b = b[:i]
		}
	}
	return 0, seen, nil
}
