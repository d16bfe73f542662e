package shell

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// errInterrupted is Ctrl-C while a line is typed.
var errInterrupted = errors.New("interrupted")

const (
	maxHistory   = 1000
	defaultWidth = 80
	// maxTyped bounds one line.
	maxTyped = 1 << 20
)

// editor reads lines from a terminal, with history and completion. The
// terminal is raw only while a line is typed.
type editor struct {
	in       *bufio.Reader
	out      io.Writer
	fd       int
	history  []string
	complete func(line string, at int) (start int, words []string)

	prompt  string
	line    []rune
	at      int
	row     int // the cursor's row below the prompt's
	killed  []rune
	browsed int
	saved   string // the new line while older ones are shown
	paste   bool
}

func newEditor(in *os.File, out io.Writer) *editor {
	return &editor{in: bufio.NewReader(in), out: out, fd: int(in.Fd())}
}

// read returns one line. io.EOF is Ctrl-D on an empty line or a terminal that
// went away.
func (e *editor) read(prompt string) (string, error) {
	old, err := term.MakeRaw(e.fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(e.out, "\x1b[?2004h") // pastes come in brackets
	defer func() {
		fmt.Fprint(e.out, "\x1b[?2004l")
		_ = term.Restore(e.fd, old) // the terminal is gone if this fails
	}()
	e.prompt, e.line, e.at, e.row = prompt, nil, 0, 0
	e.browsed, e.saved, e.paste = len(e.history), "", false
	e.refresh()
	for {
		key, err := e.key()
		if err != nil {
			return "", err
		}
		done, err := e.press(key)
		if err != nil || done {
			e.at = len(e.line)
			e.refresh()
			if errors.Is(err, errInterrupted) {
				fmt.Fprint(e.out, "^C")
			}
			fmt.Fprint(e.out, "\r\n")
			return string(e.line), err
		}
		if e.in.Buffered() == 0 {
			e.refresh()
		}
	}
}

func (e *editor) remember(line string) {
	if strings.TrimSpace(line) == "" || len(e.history) > 0 && e.history[len(e.history)-1] == line {
		return
	}
	e.history = append(e.history, line)
	if len(e.history) > maxHistory {
		e.history = e.history[1:]
	}
}

func (e *editor) press(key rune) (done bool, err error) {
	switch key {
	case '\r', '\n':
		if e.paste {
			e.insert('\n')
			return false, nil
		}
		return true, nil
	case ctrl('c'):
		return true, errInterrupted
	case ctrl('d'):
		if len(e.line) == 0 {
			return true, io.EOF
		}
		e.delete(e.at, e.at+1)
	case keyPasteBegin:
		e.paste = true
	case keyPasteEnd:
		e.paste = false
	case '\t':
		if e.paste {
			e.insert('\t')
		} else {
			e.tab()
		}
	case ctrl('r'):
		return e.search()
	case ctrl('l'):
		fmt.Fprint(e.out, "\x1b[H\x1b[2J")
		e.row = 0
	default:
		if !e.move(key) && !e.change(key) && key >= ' ' && key <= unicode.MaxRune {
			e.insert(key)
		}
	}
	return false, nil
}

func (e *editor) move(key rune) bool {
	switch key {
	case keyLeft, ctrl('b'):
		e.at = max(0, e.at-1)
	case keyRight, ctrl('f'):
		e.at = min(len(e.line), e.at+1)
	case keyHome, ctrl('a'):
		e.at = 0
	case keyEnd, ctrl('e'):
		e.at = len(e.line)
	case keyWordLeft:
		e.at = e.wordLeft()
	case keyWordRight:
		e.at = e.wordRight()
	case keyUp, ctrl('p'):
		e.browse(-1)
	case keyDown, ctrl('n'):
		e.browse(1)
	default:
		return false
	}
	return true
}

func (e *editor) change(key rune) bool {
	switch key {
	case 0x7f, ctrl('h'):
		if e.at > 0 {
			e.delete(e.at-1, e.at)
		}
	case keyDelete:
		e.delete(e.at, e.at+1)
	case ctrl('u'):
		e.kill(0, e.at)
	case ctrl('k'):
		e.kill(e.at, len(e.line))
	case ctrl('w'):
		e.kill(e.spaceLeft(), e.at)
	case ctrl('y'):
		for _, r := range e.killed {
			e.insert(r)
		}
	case ctrl('t'):
		if e.at > 0 && len(e.line) > 1 {
			i := min(e.at, len(e.line)-1)
			e.line[i-1], e.line[i] = e.line[i], e.line[i-1]
			e.at = i + 1
		}
	default:
		return false
	}
	return true
}

func (e *editor) insert(r rune) {
	if len(e.line) >= maxTyped {
		return
	}
	e.line = append(e.line, 0)
	copy(e.line[e.at+1:], e.line[e.at:])
	e.line[e.at] = r
	e.at++
}

func (e *editor) delete(from, to int) {
	to = min(to, len(e.line))
	if from < to {
		e.line = append(e.line[:from], e.line[to:]...)
		e.at = from
	}
}

func (e *editor) kill(from, to int) {
	if from < to {
		e.killed = append([]rune(nil), e.line[from:to]...)
		e.delete(from, to)
	}
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func (e *editor) wordLeft() int {
	i := e.at
	for i > 0 && !isWord(e.line[i-1]) {
		i--
	}
	for i > 0 && isWord(e.line[i-1]) {
		i--
	}
	return i
}

func (e *editor) wordRight() int {
	i := e.at
	for i < len(e.line) && !isWord(e.line[i]) {
		i++
	}
	for i < len(e.line) && isWord(e.line[i]) {
		i++
	}
	return i
}

func (e *editor) spaceLeft() int {
	i := e.at
	for i > 0 && e.line[i-1] == ' ' {
		i--
	}
	for i > 0 && e.line[i-1] != ' ' {
		i--
	}
	return i
}

func (e *editor) browse(step int) {
	next := e.browsed + step
	if next < 0 || next > len(e.history) {
		return
	}
	if e.browsed == len(e.history) {
		e.saved = string(e.line)
	}
	e.browsed = next
	if next == len(e.history) {
		e.set(e.saved)
	} else {
		e.set(e.history[next])
	}
}

func (e *editor) set(text string) {
	e.line = []rune(text)
	e.at = len(e.line)
}

// search is Ctrl-R: the newest older line that contains what is typed.
func (e *editor) search() (bool, error) {
	prompt, typed, from := e.prompt, "", len(e.history)
	find := func() {
		for i := from - 1; i >= 0; i-- {
			if strings.Contains(e.history[i], typed) {
				from = i
				e.set(e.history[i])
				return
			}
		}
	}
	defer func() { e.prompt = prompt }()
	for {
		e.prompt = fmt.Sprintf("(search '%s'): ", typed)
		e.refresh()
		key, err := e.key()
		if err != nil {
			return true, err
		}
		switch {
		case key == ctrl('r'):
			find()
		case key == 0x7f || key == ctrl('h'):
			_, size := utf8.DecodeLastRuneInString(typed)
			typed, from = typed[:len(typed)-size], len(e.history)
			find()
		case key >= ' ' && key <= unicode.MaxRune:
			typed += string(key)
			from = min(from+1, len(e.history))
			find()
		default:
			e.prompt = prompt
			return e.press(key)
		}
	}
}

// tab completes the word before the cursor, or shows what it could become.
func (e *editor) tab() {
	if e.complete == nil {
		return
	}
	start, words := e.complete(string(e.line[:e.at]), e.at)
	if len(words) == 0 {
		fmt.Fprint(e.out, "\a")
		return
	}
	common := words[0]
	for _, w := range words[1:] {
		for !strings.HasPrefix(w, common) {
			_, size := utf8.DecodeLastRuneInString(common)
			common = common[:len(common)-size]
		}
	}
	typed := string(e.line[start:e.at])
	if len(words) == 1 || len(common) > len(typed) {
		e.delete(start, e.at)
		e.at = start
		for _, r := range common {
			e.insert(r)
		}
		if len(words) == 1 && !strings.HasSuffix(common, "/") {
			e.insert(' ')
		}
		return
	}
	at := e.at
	e.at = len(e.line)
	e.refresh()
	fmt.Fprint(e.out, "\r\n"+columns(words, e.width()))
	e.at, e.row = at, 0
}
