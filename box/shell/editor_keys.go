package shell

import "unicode"

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
