package files

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-containers/sampan/box/tool"
)

// found is a path that find looks at.
type found struct {
	path string
	info fs.FileInfo
	skip bool // -prune
}

type predicate func(*found) bool

// finder parses find's expression: a list of alternatives (-o) of
// conjunctions, with ! and parentheses.
type finder struct {
	c        *tool.Call
	args     []string
	min, max int
	depth    bool
	acts     bool // an action other than the implied -print is there
	batches  []*batch
	now      time.Time
}

func find(c *tool.Call) int {
	f := &finder{c: c, args: c.Args, max: 1 << 30, now: time.Now()}
	var roots []string
	for len(f.args) > 0 && !strings.HasPrefix(f.args[0], "-") && f.args[0] != "!" && f.args[0] != "(" {
		roots = append(roots, f.args[0])
		f.args = f.args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	match, err := f.alternatives()
	if err == nil && len(f.args) > 0 {
		err = fmt.Errorf("unexpected %q", f.args[0])
	}
	if err != nil {
		return c.Misused("%s", err)
	}
	if !f.acts {
		test := match
		match = func(x *found) bool { return test(x) && f.print(x, "\n") }
	}
	for _, root := range roots {
		f.tree(root, match)
	}
	for _, b := range f.batches {
		b.run()
	}
	return c.Status()
}

func (f *finder) tree(root string, match predicate) {
	var late []*found // with -depth, and -delete, contents come first
	walk(f.c, root, func(p string, e fs.DirEntry) error {
		level := 0
		if p != root {
			level = strings.Count(strings.TrimPrefix(p, strings.TrimSuffix(root, "/")), "/")
		}
		info, err := e.Info()
		if err != nil {
			f.c.FailPath(p, err)
			return nil
		}
		x := &found{path: p, info: info}
		if level >= f.min {
			if f.depth {
				late = append(late, x)
			} else {
				match(x)
			}
		}
		if e.IsDir() && (x.skip || level >= f.max) {
			return fs.SkipDir
		}
		return nil
	})
	for i := len(late) - 1; i >= 0; i-- {
		match(late[i])
	}
}

func (f *finder) next() string {
	if len(f.args) == 0 {
		return ""
	}
	arg := f.args[0]
	f.args = f.args[1:]
	return arg
}

func (f *finder) alternatives() (predicate, error) {
	left, err := f.conjunction()
	for err == nil && len(f.args) > 0 && (f.args[0] == "-o" || f.args[0] == "-or") {
		f.next()
		var right predicate
		a := left
		if right, err = f.conjunction(); err == nil {
			left = func(x *found) bool { return a(x) || right(x) }
		}
	}
	return left, err
}

func (f *finder) conjunction() (predicate, error) {
	all := func(*found) bool { return true }
	for len(f.args) > 0 && f.args[0] != "-o" && f.args[0] != "-or" && f.args[0] != ")" {
		if f.args[0] == "-a" || f.args[0] == "-and" {
			f.next()
			continue
		}
		p, err := f.term()
		if err != nil {
			return nil, err
		}
		before := all
		all = func(x *found) bool { return before(x) && p(x) }
	}
	return all, nil
}

func (f *finder) term() (predicate, error) {
	switch name := f.next(); name {
	case "!", "-not":
		p, err := f.term()
		return func(x *found) bool { return !p(x) }, err
	case "(":
		p, err := f.alternatives()
		if err == nil && f.next() != ")" {
			err = fmt.Errorf("missing )")
		}
		return p, err
	case "-print":
		f.acts = true
		return func(x *found) bool { return f.print(x, "\n") }, nil
	case "-print0":
		f.acts = true
		return func(x *found) bool { return f.print(x, "\x00") }, nil
	case "-delete":
		f.acts, f.depth = true, true
		return f.delete, nil
	case "-depth":
		f.depth = true
		return func(*found) bool { return true }, nil
	case "-prune":
		return func(x *found) bool { x.skip = true; return true }, nil
	case "-empty":
		return isEmpty, nil
	case "-xdev", "-mount":
		return nil, fmt.Errorf("%s is not supported by this find", name)
	case "-exec":
		return f.exec()
	default:
		if len(f.args) == 0 {
			return nil, fmt.Errorf("unknown predicate, or one without its value: %q", name)
		}
		return f.test(name, f.next())
	}
}

func (f *finder) test(name, value string) (predicate, error) {
	switch name {
	case "-name", "-iname", "-path", "-wholename":
		fold := func(s string) string { return s }
		if name == "-iname" {
			fold = strings.ToLower
		}
		pattern := fold(value)
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("bad pattern %q", value)
		}
		if name == "-path" || name == "-wholename" {
			// Here * also matches slashes.
			return func(x *found) bool { return globAll(pattern, x.path) }, nil
		}
		return func(x *found) bool {
			ok, _ := path.Match(pattern, fold(filepath.Base(x.path))) // the pattern was tried
			return ok
		}, nil
	case "-type":
		return func(x *found) bool {
			return len(value) > 0 && strings.ContainsRune(value, rune(typeLetter(x.info.Mode())))
		}, nil
	case "-maxdepth", "-mindepth":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s needs a number", name)
		}
		if name == "-maxdepth" {
			f.max = n
		} else {
			f.min = n
		}
		return func(*found) bool { return true }, nil
	case "-newer":
		st, err := os.Stat(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", value, tool.Reason(err))
		}
		return func(x *found) bool { return x.info.ModTime().After(st.ModTime()) }, nil
	case "-mtime", "-mmin":
		unit := 24 * time.Hour
		if name == "-mmin" {
			unit = time.Minute
		}
		compare, err := comparison(value)
		return func(x *found) bool { return compare(int64(f.now.Sub(x.info.ModTime()) / unit)) }, err
	case "-size":
		return sizeTest(value)
	case "-user", "-uid":
		id := value
		if u, err := user.Lookup(value); err == nil {
			id = u.Uid
		}
		uid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("unknown user %s", value)
		}
		return func(x *found) bool { return x.info.Sys().(*syscall.Stat_t).Uid == uint32(uid) }, nil
	case "-perm":
		digits := strings.TrimLeft(value, "-/")
		bits, err := strconv.ParseUint(digits, 8, 12)
		if err != nil {
			return nil, fmt.Errorf("%q is not an octal mode", value)
		}
		return func(x *found) bool {
			mode := uint64(x.info.Sys().(*syscall.Stat_t).Mode & 0o7777)
			switch value[0] {
			case '-':
				return mode&bits == bits
			case '/':
				return bits == 0 || mode&bits != 0
			}
			return mode == bits
		}, nil
	}
	return nil, fmt.Errorf("unknown predicate %q", name)
}

func globAll(pattern, name string) bool {
	const slash = "\x01" // no component of a path is matched by it
	ok, _ := path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(name, "/", slash))
	return ok
}

func typeLetter(m fs.FileMode) byte {
	switch {
	case m.IsDir():
		return 'd'
	case m.IsRegular():
		return 'f'
	case m&fs.ModeSymlink != 0:
		return 'l'
	case m&fs.ModeCharDevice != 0:
		return 'c'
	case m&fs.ModeDevice != 0:
		return 'b'
	case m&fs.ModeNamedPipe != 0:
		return 'p'
	}
	return 's'
}

// comparison reads +N, -N and N.
func comparison(text string) (func(int64) bool, error) {
	n, err := strconv.ParseInt(strings.TrimLeft(text, "+-"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a number", text)
	}
	switch text[0] {
	case '+':
		return func(v int64) bool { return v > n }, nil
	case '-':
		return func(v int64) bool { return v < n }, nil
	}
	return func(v int64) bool { return v == n }, nil
}

func sizeTest(text string) (predicate, error) {
	if text == "" {
		return nil, fmt.Errorf("-size needs a number")
	}
	unit := int64(512)
	if i := strings.IndexByte("cwbkMG", text[len(text)-1]); i >= 0 {
		unit = []int64{1, 2, 512, kib, kib * kib, kib * kib * kib}[i]
		text = text[:len(text)-1]
	}
	if text == "" {
		return nil, fmt.Errorf("-size needs a number")
	}
	compare, err := comparison(text)
	return func(x *found) bool { return compare((x.info.Size() + unit - 1) / unit) }, err
}

func isEmpty(x *found) bool {
	if x.info.IsDir() {
		entries, err := os.ReadDir(x.path)
		return err == nil && len(entries) == 0
	}
	return x.info.Mode().IsRegular() && x.info.Size() == 0
}

func (f *finder) print(x *found, end string) bool {
	fmt.Fprint(f.c.Out, x.path, end)
	return true
}

func (f *finder) delete(x *found) bool {
	if x.path == "." {
		return true
	}
	if err := os.Remove(x.path); err != nil {
		f.c.Fail("cannot delete %s: %s", x.path, tool.Reason(err))
		return false
	}
	return true
}

// maxBatch bounds the arguments of one command of -exec … +.
const maxBatch = 1000

// batch collects paths for -exec … +.
type batch struct {
	f     *finder
	args  []string
	paths []string
}

func (b *batch) run() {
	if len(b.paths) > 0 {
		b.f.command(append(b.args, b.paths...))
		b.paths = nil
	}
}

func (f *finder) exec() (predicate, error) {
	f.acts = true
	var args []string
	for {
		if len(f.args) == 0 {
			return nil, fmt.Errorf("-exec must end in ; or +")
		}
		arg := f.next()
		if arg == ";" {
			break
		}
		if arg == "+" && len(args) > 1 && args[len(args)-1] == "{}" {
			b := &batch{f: f, args: args[:len(args)-1]}
			f.batches = append(f.batches, b)
			return func(x *found) bool {
				if b.paths = append(b.paths, x.path); len(b.paths) >= maxBatch {
					b.run()
				}
				return true
			}, nil
		}
		args = append(args, arg)
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("-exec needs a command")
	}
	return func(x *found) bool {
		list := make([]string, len(args))
		for i, a := range args {
			list[i] = strings.ReplaceAll(a, "{}", x.path)
		}
		return f.command(list)
	}, nil
}

func (f *finder) command(args []string) bool {
	if err := f.c.Out.Flush(); err != nil {
		return false
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f.c.In, f.c.Out, f.c.Err
	if f.c.In == os.Stdin {
		cmd.Stdout = os.Stdout
	}
	err := cmd.Run()
	if err == nil {
		return true
	}
	if _, exited := err.(*exec.ExitError); !exited {
		f.c.Fail("%s: %s", args[0], tool.Reason(err))
	}
	return false
}
