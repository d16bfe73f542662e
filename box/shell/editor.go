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

// The keys that are not plain characters. Sequences of the terminal become
// values above Unicode.
const (
	keyUp = iota + unicode.MaxRune + 1
	keyDown
	keyLeft
	keyRight
	keyHome
	keyEnd
	keyDelete
	keyWordLeft
	keyWordRight
	keyPasteBegin
	keyPasteEnd
	keyUnknown
)

func ctrl(letter rune) rune { return letter & 0x1f }

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

// columns lays words out, showing what follows the last slash of each.
func columns(words []string, width int) string {
	widest := 0
	shown := make([]string, len(words))
	for i, w := range words {
		trimmed := strings.TrimSuffix(w, "/")
		shown[i] = w[strings.LastIndexByte(trimmed, '/')+1:]
		widest = max(widest, utf8.RuneCountInString(shown[i]))
	}
	per := max(1, width/(widest+2))
	var b strings.Builder
	for i, w := range shown {
		b.WriteString(w)
		if (i+1)%per == 0 || i == len(shown)-1 {
			b.WriteString("\r\n")
		} else {
			b.WriteString(strings.Repeat(" ", widest+2-utf8.RuneCountInString(w)))
		}
	}
	return b.String()
}

func (e *editor) width() int {
	if w, _, err := term.GetSize(e.fd); err == nil && w > 0 {
		return w
	}
	return defaultWidth
}

// refresh draws prompt and line anew, over as many rows as they need.
func (e *editor) refresh() {
	width := e.width()
	var b strings.Builder
	if e.row > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", e.row)
	}
	b.WriteString("\r\x1b[J" + e.prompt)
	start := cells(e.prompt)
	at, total := start, start
	for i, r := range e.line {
		if i == e.at {
			at = total
		}
		if r < ' ' { // a newline or tab of a paste
			b.WriteString("\x1b[7m \x1b[0m")
			total++
			continue
		}
		b.WriteRune(r)
		total += runeCells(r)
	}
	if e.at == len(e.line) {
		at = total
	}
	if total > 0 && total%width == 0 {
		b.WriteString("\r\n") // the terminal wraps only with the next character
	}
	if up := total/width - at/width; up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r")
	if col := at % width; col > 0 {
		fmt.Fprintf(&b, "\x1b[%dC", col)
	}
	e.row = at / width
	fmt.Fprint(e.out, b.String())
}

// cells counts what a prompt takes on the screen, without its colours.
func cells(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case escape:
			escape = !unicode.IsLetter(r)
		case r == 0x1b:
			escape = true
		default:
			n += runeCells(r)
		}
	}
	return n
}

// runeCells tells wide characters (East Asian and emoji) and marks apart.
func runeCells(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0x1f300 && r <= 0x1f64f || r >= 0x1f900 && r <= 0x1f9ff):
		return 2
	}
	return 1
}

// key reads one character or one escape sequence.
func (e *editor) key() (rune, error) {
	r, _, err := e.in.ReadRune()
	if err != nil || r != 0x1b {
		return r, err
	}
	if e.in.Buffered() == 0 {
		return keyUnknown, nil // Escape alone
	}
	next, err := e.in.ReadByte()
	if err != nil {
		return 0, err
	}
	switch next {
	case '[', 'O':
		return e.sequence()
	case 'b':
		return keyWordLeft, nil
	case 'f':
		return keyWordRight, nil
	case 'd':
		return keyUnknown, nil
	case 0x7f:
		return ctrl('w'), nil
	}
	return keyUnknown, nil
}

func (e *editor) sequence() (rune, error) {
	const longest = 16
	var seq []byte
	for len(seq) < longest {
		b, err := e.in.ReadByte()
		if err != nil {
			return 0, err
		}
		seq = append(seq, b)
		if b >= '@' && b <= '~' {
			break
		}
	}
	keys := map[string]rune{
		"A": keyUp, "B": keyDown, "C": keyRight, "D": keyLeft, "H": keyHome, "F": keyEnd,
		"1~": keyHome, "7~": keyHome, "4~": keyEnd, "8~": keyEnd, "3~": keyDelete,
		"1;5C": keyWordRight, "1;5D": keyWordLeft, "1;3C": keyWordRight, "1;3D": keyWordLeft,
		"200~": keyPasteBegin, "201~": keyPasteEnd,
	}
	if key, ok := keys[string(seq)]; ok {
		return key, nil
	}
	return keyUnknown, nil
}
