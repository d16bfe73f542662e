package system

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/sampan-containers/sampan/box/tool"
)

// tester evaluates an expression of test(1): -o binds weaker than -a, that
// weaker than !.
type tester struct {
	args []string
}

func test(c *tool.Call) int {
	args := c.Args
	if c.Name == "[" {
		if len(args) == 0 || args[len(args)-1] != "]" {
			c.Fail("missing ]")
			return tool.Misuse
		}
		args = args[:len(args)-1]
	}
	if len(args) == 0 {
		return tool.Failed
	}
	t := &tester{args: args}
	result, err := t.or()
	if err == nil && len(t.args) > 0 {
		err = fmt.Errorf("unexpected %q", t.args[0])
	}
	if err != nil {
		c.Fail("%s", err)
		return tool.Misuse
	}
	if result {
		return tool.OK
	}
	return tool.Failed
}

func (t *tester) next() string {
	if len(t.args) == 0 {
		return ""
	}
	a := t.args[0]
	t.args = t.args[1:]
	return a
}

func (t *tester) at(word string) bool { return len(t.args) > 0 && t.args[0] == word }

func (t *tester) or() (bool, error) {
	left, err := t.and()
	for err == nil && t.at("-o") {
		t.next()
		var right bool
		right, err = t.and()
		left = left || right
	}
	return left, err
}

func (t *tester) and() (bool, error) {
	left, err := t.not()
	for err == nil && t.at("-a") {
		t.next()
		var right bool
		right, err = t.not()
		left = left && right
	}
	return left, err
}

func (t *tester) not() (bool, error) {
	if t.at("!") && len(t.args) > 1 {
		t.next()
		v, err := t.not()
		return !v, err
	}
	return t.primary()
}

func (t *tester) primary() (bool, error) {
	if len(t.args) >= 3 {
		if f := binary(t.args[1]); f != nil {
			a, b := t.args[0], t.args[2]
			t.args = t.args[3:]
			return f(a, b)
		}
	}
	if t.at("(") && len(t.args) > 2 {
		t.next()
		v, err := t.or()
		if err == nil && t.next() != ")" {
			err = errors.New("missing )")
		}
		return v, err
	}
	if len(t.args) >= 2 {
		if f := unary(t.args[0]); f != nil {
			a := t.args[1]
			t.args = t.args[2:]
			return f(a), nil
		}
	}
	if len(t.args) == 0 {
		return false, errors.New("an argument is missing")
	}
	return t.next() != "", nil
}

func binary(op string) func(a, b string) (bool, error) {
	text := func(f func(a, b string) bool) func(a, b string) (bool, error) {
		return func(a, b string) (bool, error) { return f(a, b), nil }
	}
	number := func(f func(a, b int64) bool) func(a, b string) (bool, error) {
		return func(a, b string) (bool, error) {
			x, err := strconv.ParseInt(a, 10, 64)
			if err != nil {
				return false, fmt.Errorf("%s: not a whole number", a)
			}
			y, err := strconv.ParseInt(b, 10, 64)
			if err != nil {
				return false, fmt.Errorf("%s: not a whole number", b)
			}
			return f(x, y), nil
		}
	}
	switch op {
	case "=", "==":
		return text(func(a, b string) bool { return a == b })
	case "!=":
		return text(func(a, b string) bool { return a != b })
	case "<":
		return text(func(a, b string) bool { return a < b })
	case ">":
		return text(func(a, b string) bool { return a > b })
	case "-eq":
		return number(func(a, b int64) bool { return a == b })
	case "-ne":
		return number(func(a, b int64) bool { return a != b })
	case "-lt":
		return number(func(a, b int64) bool { return a < b })
	case "-le":
		return number(func(a, b int64) bool { return a <= b })
	case "-gt":
		return number(func(a, b int64) bool { return a > b })
	case "-ge":
		return number(func(a, b int64) bool { return a >= b })
	case "-nt":
		return text(func(a, b string) bool { return newer(a, b) })
	case "-ot":
		return text(func(a, b string) bool { return newer(b, a) })
	case "-ef":
		return text(sameFile)
	}
	return nil
}

func newer(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err != nil || x.ModTime().After(y.ModTime())
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func unary(op string) func(string) bool {
	mode := func(f func(os.FileInfo) bool) func(string) bool {
		return func(path string) bool {
			st, err := os.Stat(path)
			return err == nil && f(st)
		}
	}
	access := func(how uint32) func(string) bool {
		return func(path string) bool { return unix.Faccessat(unix.AT_FDCWD, path, how, unix.AT_EACCESS) == nil }
	}
	bit := func(b os.FileMode) func(string) bool {
		return mode(func(st os.FileInfo) bool { return st.Mode()&b != 0 })
	}
	switch op {
	case "-n":
		return func(s string) bool { return s != "" }
	case "-z":
		return func(s string) bool { return s == "" }
	case "-e":
		return mode(func(os.FileInfo) bool { return true })
	case "-f":
		return mode(func(st os.FileInfo) bool { return st.Mode().IsRegular() })
	case "-d":
		return mode(func(st os.FileInfo) bool { return st.IsDir() })
	case "-s":
		return mode(func(st os.FileInfo) bool { return st.Size() > 0 })
	case "-h", "-L":
		return func(path string) bool {
			st, err := os.Lstat(path)
			return err == nil && st.Mode()&os.ModeSymlink != 0
		}
	case "-p":
		return bit(os.ModeNamedPipe)
	case "-S":
		return bit(os.ModeSocket)
	case "-c":
		return bit(os.ModeCharDevice)
	case "-b":
		return mode(func(st os.FileInfo) bool { return st.Mode()&(os.ModeDevice|os.ModeCharDevice) == os.ModeDevice })
	case "-u":
		return bit(os.ModeSetuid)
	case "-g":
		return bit(os.ModeSetgid)
	case "-k":
		return bit(os.ModeSticky)
	case "-r":
		return access(unix.R_OK)
	case "-w":
		return access(unix.W_OK)
	case "-x":
		return access(unix.X_OK)
	case "-O":
		return mode(func(st os.FileInfo) bool { return int(ownerOf(st)) == os.Geteuid() })
	case "-t":
		return func(fd string) bool {
			n, err := strconv.Atoi(fd)
			return err == nil && term.IsTerminal(n)
		}
	}
	return nil
}
