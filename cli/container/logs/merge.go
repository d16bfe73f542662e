package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/terminal"
)

const (
	// settle is how long a line of a followed log waits for older ones of others.
	settle = 100 * time.Millisecond
	// maxPiece bounds one entry; longer lines come in pieces.
	maxPiece = 1 << 20
	// ahead is how many lines are read ahead of each log.
	ahead = 64
)

// line is one entry of a log.
type line struct {
	at     time.Time
	stamp  []byte // the time as it came, with the blank
	text   []byte
	stderr bool
	came   time.Time
}

// feed is a log that is being read.
type feed struct {
	prefix string
	lines  chan line
	err    error // valid once lines is closed
	head   *line
	over   bool
}

// merged shows many logs in the order of their times, each line with the name of
// its container.
func merged(ctx context.Context, a *app.App, conn *connect.Conn, o *options, names []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stamped := *o
	stamped.Timestamps = true // to merge by
	width := 0
	for _, n := range names {
		width = max(width, len(n))
	}
	var feeds []*feed
	for _, name := range names {
		s, err := open(ctx, conn, &stamped, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defer s.body.Close()
		f := &feed{prefix: fmt.Sprintf("%-*s | ", width, terminal.Clean(name)), lines: make(chan line, ahead)}
		feeds = append(feeds, f)
		go f.read(ctx, s)
	}
	m := &merger{feeds: feeds, follow: o.Follow, stamps: o.Timestamps,
		out: bufio.NewWriterSize(a.Out, logBuffer), errs: bufio.NewWriterSize(a.Err, logBuffer)}
	return m.run(ctx)
}

// read sends the lines of a log until its end.
func (f *feed) read(ctx context.Context, s *source) {
	defer close(f.lines)
	r := bufio.NewReaderSize(s.body, logBuffer)
	for {
		var l line
		var raw []byte
		var err error
		if s.tty {
			raw, err = r.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(raw) > 0 {
				err = nil
			}
		} else {
			var stream byte
			var size int64
			if stream, size, err = frame(r); err == nil {
				if size > maxPiece {
					err = fmt.Errorf("the daemon sent a line of %d bytes", size)
				} else {
					raw = make([]byte, size)
					_, err = io.ReadFull(r, raw)
				}
			}
			l.stderr = stream == toStderr
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				f.err = err
			}
			return
		}
		l.split(raw)
		select {
		case f.lines <- l:
		case <-ctx.Done():
			return
		}
	}
}

// split takes the time off the beginning of a line. A piece without one belongs
// where it is.
func (l *line) split(raw []byte) {
	l.text, l.came = raw, time.Now()
	if i := bytes.IndexByte(raw, ' '); i > 0 {
		if at, err := time.Parse(time.RFC3339Nano, string(raw[:i])); err == nil {
			l.at, l.stamp, l.text = at, raw[:i+1], raw[i+1:]
		}
	}
}

type merger struct {
	feeds          []*feed
	follow, stamps bool
	out, errs      *bufio.Writer
}

func (m *merger) run(ctx context.Context) error {
	defer m.errs.Flush()
	defer m.out.Flush()
	for {
		best, err := m.oldest(ctx)
		if err != nil || best == nil {
			return err
		}
		if err := m.print(best); err != nil {
			return err
		}
	}
}

// oldest waits until it is known which line comes next; nil is the end of all.
// Without follow each log has a next line or ends. With it a quiet log must not
// hold the others up: a line that has waited for long enough goes.
func (m *merger) oldest(ctx context.Context) (*feed, error) {
	for {
		var best, missing *feed
		for _, f := range m.feeds {
			if f.head == nil && !f.over {
				if err := f.take(); err != nil {
					return nil, err
				}
			}
			switch {
			case f.head != nil && (best == nil || f.head.at.Before(best.head.at)):
				best = f
			case f.head == nil && !f.over:
				missing = f
			}
		}
		if missing == nil || best != nil && m.follow && time.Since(best.head.came) >= settle {
			return best, nil
		}
		if err := errors.Join(m.out.Flush(), m.errs.Flush()); err != nil {
			return nil, err
		}
		if err := missing.wait(ctx, m.follow); err != nil {
			return nil, err
		}
	}
}

// take fetches the next line if it is there.
func (f *feed) take() error {
	select {
	case l, ok := <-f.lines:
		if !ok {
			f.over = true
			return f.err
		}
		f.head = &l
	default:
	}
	return nil
}

// wait waits for the next line or the end; with follow for a short while only,
// since another log may be the next to speak.
func (f *feed) wait(ctx context.Context, short bool) error {
	var limit <-chan time.Time
	if short {
		t := time.NewTimer(settle / 4)
		defer t.Stop()
		limit = t.C
	}
	select {
	case l, ok := <-f.lines:
		if !ok {
			f.over = true
			return f.err
		}
		f.head = &l
	case <-limit:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// print shows the line at a feed's head.
func (m *merger) print(f *feed) error {
	l := f.head
	f.head = nil
	to, other := m.out, m.errs
	if l.stderr {
		to, other = other, to
	}
	if other.Buffered() > 0 {
		if err := other.Flush(); err != nil {
			return err
		}
	}
	to.WriteString(f.prefix)
	if m.stamps {
		to.Write(l.stamp)
	}
	_, err := to.Write(l.text)
	if err == nil && !bytes.HasSuffix(l.text, []byte{'\n'}) {
		// The rest of a long line may come after a line of another container.
		err = to.WriteByte('\n')
	}
	return err
}
