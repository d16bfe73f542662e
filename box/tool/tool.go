// Package tool is what the applets of sampan-box share: a tool is a name, a
// usage line and a function of its streams and arguments to an exit status.
// Options follow getopt: short ones may be put together, a value may stick to
// its letter, "--" ends them, and long names are other spellings of a letter.
package tool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// The exit statuses that tools have in common.
const (
	OK     = 0
	Failed = 1
	Misuse = 2
)

// Tool is one applet.
type Tool struct {
	Name  string
	Usage string // what follows the name
	Run   func(*Call) int
}

// Call is one invocation. Out is flushed by whoever makes the call.
type Call struct {
	Name  string
	Usage string
	Args  []string // without the name
	In    io.Reader
	Out   *bufio.Writer
	Err   io.Writer

	failed bool
}

// Fail reports an error in the tool's name and makes Status 1.
func (c *Call) Fail(format string, args ...any) int {
	c.failed = true
	fmt.Fprintf(c.Err, "%s: %s\n", c.Name, fmt.Sprintf(format, args...))
	return Failed
}

// FailPath reports what happened to a path, in the words of strerror(3).
func (c *Call) FailPath(path string, err error) int { return c.Fail("%s: %s", path, Reason(err)) }

// Status is 1 after any Fail, else 0.
func (c *Call) Status() int {
	if c.failed {
		return Failed
	}
	return OK
}

// Misused reports wrong usage.
func (c *Call) Misused(format string, args ...any) int {
	fmt.Fprintf(c.Err, "%s: %s\nusage: %s %s\n", c.Name, fmt.Sprintf(format, args...), c.Name, c.Usage)
	return Misuse
}

// Reason is the innermost cause of an error: "no such file or directory".
func Reason(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	case errors.As(err, &call):
		err = call.Err
	}
	return err.Error()
}

// Options are parsed options.
type Options struct {
	Args   []string // the operands
	count  map[byte]int
	values map[byte][]string
}

// Has tells whether the option was given.
func (o *Options) Has(letter byte) bool { return o.count[letter] > 0 }

// Value returns the option's last value, or the fallback.
func (o *Options) Value(letter byte, fallback string) string {
	if v := o.values[letter]; len(v) > 0 {
		return v[len(v)-1]
	}
	return fallback
}

// Values returns all values of the option.
func (o *Options) Values(letter byte) []string { return o.values[letter] }

// Options parses the arguments. spec lists the letters, each with ":" after it
// if it takes a value, and "letter=long-name" words for the long names, all
// separated by spaces: "n:q n=lines q=quiet". A leading "+" ends the options at
// the first operand. If ok is false, the tool ends with status.
func (c *Call) Options(spec string) (o *Options, status int, ok bool) {
	p := newParser(spec)
	o = &Options{count: map[byte]int{}, values: map[byte][]string{}}
	args := c.Args
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			o.Args = append(o.Args, args...)
			return o, OK, true
		case arg == "--help":
			fmt.Fprintf(c.Out, "usage: %s %s\n", c.Name, c.Usage)
			return nil, OK, false
		case strings.HasPrefix(arg, "--"):
			args, err = p.long(o, arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = p.short(o, arg[1:], args)
		default:
			o.Args = append(o.Args, arg)
			if p.stop {
				o.Args = append(o.Args, args...)
				return o, OK, true
			}
		}
		if err != nil {
			return nil, c.Misused("%s", err), false
		}
	}
	return o, OK, true
}

type parser struct {
	stop   bool
	takes  map[byte]bool // letter → takes a value
	spells map[string]byte
}

func newParser(spec string) *parser {
	p := &parser{takes: map[byte]bool{}, spells: map[string]byte{}}
	spec, p.stop = strings.CutPrefix(spec, "+")
	letters, names, _ := strings.Cut(spec, " ")
	for i := 0; i < len(letters); i++ {
		value := i+1 < len(letters) && letters[i+1] == ':'
		p.takes[letters[i]] = value
		if value {
			i++
		}
	}
	for _, name := range strings.Fields(names) {
		p.spells[name[2:]] = name[0]
	}
	return p
}

func (p *parser) long(o *Options, text string, args []string) ([]string, error) {
	name, value, has := strings.Cut(text, "=")
	letter, ok := p.spells[name]
	switch {
	case !ok:
		return args, fmt.Errorf("unknown option --%s", name)
	case !p.takes[letter]:
		if has {
			return args, fmt.Errorf("option --%s takes no value", name)
		}
		o.count[letter]++
		return args, nil
	case !has && len(args) == 0:
		return args, fmt.Errorf("option --%s needs a value", name)
	case !has:
		value, args = args[0], args[1:]
	}
	o.count[letter]++
	o.values[letter] = append(o.values[letter], value)
	return args, nil
}

func (p *parser) short(o *Options, text string, args []string) ([]string, error) {
	for text != "" {
		letter := text[0]
		text = text[1:]
		value, known := p.takes[letter]
		switch {
		case !known:
			return args, fmt.Errorf("unknown option -%c", letter)
		case !value:
			o.count[letter]++
			continue
		case text != "":
		case len(args) == 0:
			return args, fmt.Errorf("option -%c needs a value", letter)
		default:
			text, args = args[0], args[1:]
		}
		o.count[letter]++
		o.values[letter] = append(o.values[letter], text)
		return args, nil
	}
	return args, nil
}

// Input opens an operand, "-" or none being standard input, and hands it to f.
func (c *Call) Input(name string, f func(io.Reader) error) {
	r := c.In
	if name != "" && name != "-" {
		file, err := os.Open(name)
		if err != nil {
			c.FailPath(name, err)
			return
		}
		defer file.Close()
		r = file
	} else {
		name = "standard input"
	}
	if err := f(r); err != nil {
		c.FailPath(name, err)
	}
}

// Inputs does Input for all operands, or for standard input if there is none.
func (c *Call) Inputs(names []string, f func(name string, r io.Reader) error) {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		c.Input(name, func(r io.Reader) error { return f(name, r) })
	}
}

// maxLine bounds one line of text.
const maxLine = 64 << 20

// Lines calls f for each line, without its end.
func Lines(r io.Reader, f func(line string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	for s.Scan() {
		if err := f(s.Text()); err != nil {
			return err
		}
	}
	return s.Err()
}
