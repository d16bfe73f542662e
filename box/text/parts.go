package text

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sampan-containers/sampan/box/tool"
)

// errEnough ends the reading of one input early.
var errEnough = errors.New("enough")

func head(c *tool.Call) int {
	numeric(c)
	o, status, ok := c.Options("n:c:qv n=lines c=bytes q=quiet v=verbose")
	if !ok {
		return status
	}
	lines, err1 := strconv.ParseInt(o.Value('n', "10"), 10, 64)
	bytes, err2 := strconv.ParseInt(o.Value('c', "-1"), 10, 64)
	if err1 != nil || err2 != nil || lines < 0 {
		return c.Misused("needs a number of lines or bytes")
	}
	titles := title(c, len(o.Args) > 1 && !o.Has('q') || o.Has('v'))
	c.Inputs(o.Args, func(name string, r io.Reader) error {
		titles(name)
		if bytes >= 0 {
			_, err := io.CopyN(c.Out, r, bytes)
			return ignoreEOF(err)
		}
		b := bufio.NewReader(r)
		for range lines {
			line, err := b.ReadBytes('\n')
			if _, werr := c.Out.Write(line); werr != nil {
				return werr
			}
			if err != nil {
				return ignoreEOF(err)
			}
		}
		return nil
	})
	return c.Status()
}

// numeric turns the old form -20 into -n 20.
func numeric(c *tool.Call) {
	if len(c.Args) > 0 && len(c.Args[0]) > 1 && c.Args[0][0] == '-' {
		if _, err := strconv.ParseUint(c.Args[0][1:], 10, 63); err == nil {
			c.Args = append([]string{"-n", c.Args[0][1:]}, c.Args[1:]...)
		}
	}
}

func title(c *tool.Call, on bool) func(string) {
	first := true
	return func(name string) {
		if !on {
			return
		}
		if !first {
			c.Out.WriteByte('\n')
		}
		first = false
		fmt.Fprintf(c.Out, "==> %s <==\n", name)
	}
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func tail(c *tool.Call) int {
	numeric(c)
	o, status, ok := c.Options("n:c:fFqv n=lines c=bytes f=follow q=quiet v=verbose")
	if !ok {
		return status
	}
	text, byBytes := o.Value('n', "10"), o.Has('c')
	if byBytes {
		text = o.Value('c', "")
	}
	n, err := strconv.ParseInt(strings.TrimLeft(text, "+-"), 10, 64)
	if err != nil || n < 0 {
		return c.Misused("needs a number of lines or bytes")
	}
	fromStart := strings.HasPrefix(text, "+")
	titles := title(c, len(o.Args) > 1 && !o.Has('q') || o.Has('v'))
	follow := o.Has('f') || o.Has('F')
	c.Inputs(o.Args, func(name string, r io.Reader) error {
		titles(name)
		if err := tailOne(c, r, n, fromStart, byBytes); err != nil {
			return err
		}
		f, regular := r.(*os.File)
		if !follow || !regular || name == "-" {
			return nil
		}
		return followFile(c, f)
	})
	return c.Status()
}

func tailOne(c *tool.Call, r io.Reader, n int64, fromStart, byBytes bool) error {
	b := bufio.NewReader(r)
	if fromStart {
		for skipped := int64(1); skipped < n; skipped++ {
			var err error
			if byBytes {
				_, err = b.ReadByte()
			} else {
				_, err = b.ReadBytes('\n')
			}
			if err != nil {
				return ignoreEOF(err)
			}
		}
		_, err := io.Copy(c.Out, b)
		return err
	}
	if byBytes {
		return tailBytes(c, b, n)
	}
	if n == 0 {
		_, err := io.Copy(io.Discard, b)
		return err
	}
	ring := make([][]byte, 0, min(n, 1024))
	at := int64(0)
	for {
		line, err := b.ReadBytes('\n')
		if len(line) > 0 {
			if int64(len(ring)) < n {
				ring = append(ring, line)
			} else {
				ring[at%n] = line
			}
			at++
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	for i := range ring {
		if _, err := c.Out.Write(ring[(int(at)+i)%len(ring)]); err != nil {
			return err
		}
	}
	return nil
}

func tailBytes(c *tool.Call, r io.Reader, n int64) error {
	const chunk = 64 << 10
	var kept []byte
	buf := make([]byte, chunk)
	for {
		k, err := r.Read(buf)
		kept = append(kept, buf[:k]...)
		if int64(len(kept)) > n+chunk {
			kept = append(kept[:0], kept[int64(len(kept))-n:]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	_, err := c.Out.Write(kept[max(0, int64(len(kept))-n):])
	return err
}

// followFile waits for what is added, and begins again when the file shrinks.
func followFile(c *tool.Call, f *os.File) error {
	const pause = 200 * time.Millisecond
	for {
		if _, err := io.Copy(c.Out, f); err != nil {
			return err
		}
		if err := c.Out.Flush(); err != nil {
			return err
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if st, err := f.Stat(); err == nil && st.Size() < at {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
		time.Sleep(pause)
	}
}

type counts struct{ lines, words, bytes, chars, longest int64 }

func wc(c *tool.Call) int {
	o, status, ok := c.Options("lwcmL l=lines w=words c=bytes m=chars L=max-line-length")
	if !ok {
		return status
	}
	all := !o.Has('l') && !o.Has('w') && !o.Has('c') && !o.Has('m') && !o.Has('L')
	print := func(n counts, name string) {
		var fields []string
		add := func(on bool, v int64) {
			if on {
				fields = append(fields, strconv.FormatInt(v, 10))
			}
		}
		add(all || o.Has('l'), n.lines)
		add(all || o.Has('w'), n.words)
		add(o.Has('m'), n.chars)
		add(all || o.Has('c'), n.bytes)
		add(o.Has('L'), n.longest)
		if len(fields) > 1 {
			for i := range fields {
				fields[i] = fmt.Sprintf("%7s", fields[i])
			}
		}
		if name != "-" {
			fields = append(fields, name)
		}
		fmt.Fprintln(c.Out, strings.Join(fields, " "))
	}
	var total counts
	c.Inputs(o.Args, func(name string, r io.Reader) error {
		n, err := count(r)
		if err != nil {
			return err
		}
		print(n, name)
		total = counts{total.lines + n.lines, total.words + n.words, total.bytes + n.bytes, total.chars + n.chars, max(total.longest, n.longest)}
		return nil
	})
	if len(o.Args) > 1 {
		print(total, "total")
	}
	return c.Status()
}

func count(r io.Reader) (n counts, err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	inWord, width := false, int64(0)
	for {
		ch, size, err := b.ReadRune()
		if err != nil {
			n.longest = max(n.longest, width)
			return n, ignoreEOF(err)
		}
		n.bytes += int64(size)
		n.chars++
		width++
		if ch == '\n' {
			n.lines++
			n.longest = max(n.longest, width-1)
			width = 0
		}
		space := unicode.IsSpace(ch)
		if !space && !inWord {
			n.words++
		}
		inWord = !space
	}
}

func tee(c *tool.Call) int {
	o, status, ok := c.Options("ai a=append")
	if !ok {
		return status
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if o.Has('a') {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	var files []*os.File
	for _, name := range o.Args {
		f, err := os.OpenFile(name, flags, 0o666)
		if err != nil {
			c.FailPath(name, err)
			continue
		}
		defer f.Close()
		files = append(files, f)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := c.In.Read(buf)
		for _, f := range files {
			if _, err := f.Write(buf[:n]); err != nil {
				c.FailPath(f.Name(), err)
			}
		}
		if _, err := c.Out.Write(buf[:n]); err != nil {
			return c.Fail("standard output: %s", tool.Reason(err))
		}
		if err := c.Out.Flush(); err != nil {
			return c.Fail("standard output: %s", tool.Reason(err))
		}
		if err == io.EOF {
			return c.Status()
		}
		if err != nil {
			return c.Fail("%s", tool.Reason(err))
		}
	}
}

func cut(c *tool.Call) int {
	o, status, ok := c.Options("f:c:b:d:sn f=fields c=characters b=bytes d=delimiter s=only-delimited")
	if !ok {
		return status
	}
	list := o.Value('f', o.Value('c', o.Value('b', "")))
	in, err := parseRanges(list)
	if err != nil {
		return c.Misused("%s", err)
	}
	delim := o.Value('d', "\t")
	c.Inputs(o.Args, func(_ string, r io.Reader) error {
		return tool.Lines(r, func(line string) error {
			var parts []string
			glue := ""
			switch {
			case o.Has('f'):
				if !strings.Contains(line, delim) {
					if !o.Has('s') {
						fmt.Fprintln(c.Out, line)
					}
					return nil
				}
				parts, glue = strings.Split(line, delim), delim
			case o.Has('b'):
				for i := range len(line) {
					parts = append(parts, line[i:i+1])
				}
			default:
				parts = strings.Split(line, "")
			}
			var chosen []string
			for i, p := range parts {
				if in(i + 1) {
					chosen = append(chosen, p)
				}
			}
			_, err := fmt.Fprintln(c.Out, strings.Join(chosen, glue))
			return err
		})
	})
	return c.Status()
}

// parseRanges reads 1,3-5,7-.
func parseRanges(list string) (func(int) bool, error) {
	type span struct{ from, to int }
	var spans []span
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(part, "-")
		s := span{1, 1 << 30}
		var err1, err2 error
		if from != "" {
			s.from, err1 = strconv.Atoi(from)
		}
		if !ranged {
			s.to = s.from
		} else if to != "" {
			s.to, err2 = strconv.Atoi(to)
		}
		if err1 != nil || err2 != nil || s.from < 1 || part == "" || part == "-" {
			return nil, fmt.Errorf("%q is not a list such as 1,3-5", list)
		}
		spans = append(spans, s)
	}
	return func(i int) bool {
		for _, s := range spans {
			if s.from <= i && i <= s.to {
				return true
			}
		}
		return false
	}, nil
}

func uniq(c *tool.Call) int {
	o, status, ok := c.Options("cdui c=count d=repeated u=unique i=ignore-case")
	if !ok {
		return status
	}
	var last string
	n := 0
	flush := func() {
		if n == 0 || o.Has('d') && n < 2 || o.Has('u') && n > 1 {
			return
		}
		if o.Has('c') {
			fmt.Fprintf(c.Out, "%7d ", n)
		}
		fmt.Fprintln(c.Out, last)
	}
	c.Inputs(o.Args[:min(1, len(o.Args))], func(_ string, r io.Reader) error {
		return tool.Lines(r, func(line string) error {
			if n > 0 && (line == last || o.Has('i') && strings.EqualFold(line, last)) {
				n++
				return nil
			}
			flush()
			last, n = line, 1
			return nil
		})
	})
	flush()
	return c.Status()
}

func tac(c *tool.Call) int {
	c.Inputs(c.Args, func(_ string, r io.Reader) error {
		var lines []string
		err := tool.Lines(r, func(line string) error { lines = append(lines, line); return nil })
		for i := len(lines) - 1; i >= 0; i-- {
			fmt.Fprintln(c.Out, lines[i])
		}
		return err
	})
	return c.Status()
}

func rev(c *tool.Call) int {
	c.Inputs(c.Args, func(_ string, r io.Reader) error {
		return tool.Lines(r, func(line string) error {
			out := make([]byte, 0, len(line))
			for len(line) > 0 {
				_, size := utf8.DecodeLastRuneInString(line)
				out = append(out, line[len(line)-size:]...)
				line = line[:len(line)-size]
			}
			_, err := fmt.Fprintf(c.Out, "%s\n", out)
			return err
		})
	})
	return c.Status()
}

func nl(c *tool.Call) int {
	n := 0
	c.Inputs(c.Args, func(_ string, r io.Reader) error {
		return tool.Lines(r, func(line string) error {
			if line == "" {
				_, err := fmt.Fprintln(c.Out)
				return err
			}
			n++
			_, err := fmt.Fprintf(c.Out, "%6d\t%s\n", n, line)
			return err
		})
	})
	return c.Status()
}
