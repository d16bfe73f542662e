package logs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/sampan-containers/sampan/logs/logfile"
)

// openTail opens the files that hold the last cfg.Tail entries, oldest first, and
// moves to the first of these. It opens and reads no more than those and one block;
// compressed files, which have no way backwards, are read twice.
func (r *reader) openTail() (files []*part, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
		slices.Reverse(files)
	}()
	want := r.cfg.Tail
	p, err := r.log.openFrom(0, missing)
	for ; p != nil && err == nil; p, err = r.log.older(p) {
		files = append(files, p)
		var found int
		if p.packed {
			if found, err = r.countPacked(p); found >= want {
				r.pass = found - want
			}
		} else {
			found, err = r.seekLast(p, len(files) == 1, want)
		}
		if want -= found; err != nil || want <= 0 {
			break
		}
	}
	return files, err
}

// firstBlock is what is read first of the end of a file: a screenful of lines.
const firstBlock = 8 << 10

// tornTries is how often the end of a file is looked at again that ends in the
// middle of an entry: that is being written.
const tornTries = 20

// seekLast moves to the last n entries of a file, or to its beginning if it has
// fewer, and returns how many there are up to n.
func (r *reader) seekLast(p *part, newest bool, n int) (found int, err error) {
	var offset int64
	for try := 0; ; try++ {
		end, err := p.end()
		if err != nil {
			return 0, err
		}
		if newest {
			r.end = end
		}
		if r.log.format == JSON {
			offset, found, err = lastLines(p.f, end, n)
		} else {
			offset, found, err = lastFrames(p.f, end, n)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errTorn) {
			return 0, err
		}
		if try == tornTries {
			return r.passTorn(p, n)
		}
		time.Sleep(lockPause)
	}
	if found < n {
		offset = 0
	}
	_, err = p.f.Seek(offset, io.SeekStart)
	return found, err
}

// passTorn is seekLast for a file that a crash has cut: it is read from its
// beginning, twice.
func (r *reader) passTorn(p *part, n int) (found int, err error) {
	total, err := countFrames(io.NewSectionReader(p.f, 0, r.endOf(p)))
	if err != nil {
		return 0, err
	}
	if total > n {
		r.pass = total - n
	}
	_, err = p.f.Seek(0, io.SeekStart)
	return min(total, n), err
}

func (r *reader) endOf(p *part) int64 {
	end, err := p.end()
	if err != nil {
		return p.info.Size()
	}
	return end
}

func (r *reader) countPacked(p *part) (found int, err error) {
	z, err := gzip.NewReader(p.f)
	if err != nil {
		return 0, err
	}
	if r.log.format == JSON {
		found, err = countLines(z)
	} else {
		found, err = countFrames(z)
	}
	if err != nil {
		return 0, err
	}
	_, err = p.f.Seek(0, io.SeekStart)
	return found, err
}

func countLines(source io.Reader) (n int, err error) {
	var block [blockSize]byte
	for {
		got, err := source.Read(block[:])
		n += bytes.Count(block[:got], []byte{'\n'})
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// countFrames counts the whole entries up to the end or the first damage.
func countFrames(source io.Reader) (n int, err error) {
	b := bufio.NewReaderSize(source, blockSize)
	for {
		head, err := b.Peek(logfile.LengthSize)
		if err != nil {
			return n, ignoreEOF(err)
		}
		size := binary.BigEndian.Uint32(head)
		if size == 0 || size > logfile.MaxEntry {
			return n, nil
		}
		if _, err := b.Discard(int(size) + 2*logfile.LengthSize); err != nil {
			return n, ignoreEOF(err)
		}
		n++
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// lastLines finds the offset of the last n lines of f before end, and how many
// of them there are. An unfinished last line does not count.
func lastLines(f *os.File, end int64, n int) (offset int64, found int, err error) {
	// The newline that begins the wanted part is the one before n further ones.
	seen, block := 0, make([]byte, firstBlock)
	for pos := end; pos > 0; {
		if pos < end && len(block) < blockSize {
			block = make([]byte, blockSize)
		}
		size := min(pos, int64(len(block)))
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
