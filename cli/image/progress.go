package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/auxprogress"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/sampan-containers/sampan/cli/terminal"
)

// progress shows a stream of progress messages: on a terminal each id has a
// line that is rewritten in place, elsewhere one line per step.
func progress(out *terminal.Out, r io.Reader) error {
	p := &painter{out: out, lines: map[string]int{}}
	dec := json.NewDecoder(r)
	for {
		var m jsonstream.Message
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the progress from the daemon: %w", err)
		}
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		p.show(&m)
	}
}

type painter struct {
	out   *terminal.Out
	lines map[string]int // id → line, counted from the first one
}

func (p *painter) show(m *jsonstream.Message) {
	switch {
	case m.Aux != nil:
		p.note(*m.Aux)
	case m.Stream != "":
		fmt.Fprint(p.out.Text(), m.Stream)
	case m.Status == "" && m.Progress == nil:
	case m.ID == "":
		fmt.Fprintln(p.out.Text(), m.Status)
		// A line in between moves what is above out of reach.
		p.lines = map[string]int{}
	case !p.out.IsTerminal():
		if m.Progress == nil || m.Progress.Current == 0 && m.Progress.Total == 0 {
			fmt.Fprintf(p.out.Text(), "%s: %s\n", m.ID, m.Status)
		}
	default:
		p.rewrite(m)
	}
}

// note says that one platform was pushed out of an index; other notes are for
// programs.
func (p *painter) note(raw []byte) {
	var n auxprogress.ManifestPushedInsteadOfIndex
	if json.Unmarshal(raw, &n) != nil || !n.ManifestPushedInsteadOfIndex {
		return
	}
	fmt.Fprintf(p.out.Text(), "Only this platform of the image is here and was pushed: %s instead of the index %s\n", n.SelectedManifest.Digest, n.OriginalIndex.Digest)
	p.lines = map[string]int{}
}

func (p *painter) rewrite(m *jsonstream.Message) {
	line, known := p.lines[m.ID]
	if !known {
		line = len(p.lines)
		p.lines[m.ID] = line
		fmt.Fprint(p.out, "\n")
	}
	up := len(p.lines) - line
	_, width := p.out.Size()
	text := terminal.Clean(strings.TrimSpace(m.ID + ": " + m.Status + " " + bar(m.Progress)))
	if r := []rune(text); width > 0 && uint(len(r)) >= width {
		text = string(r[:width-1])
	}
	// Up to the line, erase it, write, and back down.
	fmt.Fprintf(p.out, "\x1b[%dA\x1b[2K\r%s\r\x1b[%dB", up, text, up)
}

const barWidth = 30

func bar(p *jsonstream.Progress) string {
	switch {
	case p == nil || p.Current <= 0:
		return ""
	case p.Total <= 0 && p.Units != "":
		return fmt.Sprintf("%d %s", p.Current, p.Units)
	case p.Total <= 0:
		return units.HumanSize(float64(p.Current))
	}
	done := int(min(p.Current, p.Total) * barWidth / p.Total)
	text := "[" + strings.Repeat("=", done)
	if done < barWidth {
		text += ">" + strings.Repeat(" ", barWidth-done-1)
	}
	text += "]"
	if p.HideCounts {
		return text
	}
	return fmt.Sprintf("%s %s/%s", text, units.HumanSize(float64(p.Current)), units.HumanSize(float64(p.Total)))
}
