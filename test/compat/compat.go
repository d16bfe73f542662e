// Package compat holds what Sampan must keep of Docker's interface, and proves
// that each part of it has a case.
//
// The two tables are Docker's own, read from its sources and documentation once
// and kept beside the code that answers them: server/testdata/api.tsv has every
// route with its status codes, cli/testdata/cli.tsv every command with its flags.
//
// The cases are lines of text in the folder cases, one command or request each.
// Package parity runs those that both engines can run, side by side; package
// scenario runs those of ours.txt, which docker's client of this machine is too
// old for. What a line uses, a flag, a route, a status, has a case; the test of
// this package lists what no line uses.
package compat

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Line is one case: a command for a shell, and what is known of its outcome.
type Line struct {
	File    string
	Number  int
	Command string
	// Words tells that the two engines say the same in other words on stderr.
	Words bool
	// Differs is why exit code or output are not the same, "" when they are.
	Differs string
	// Exit and Prints are what a line of ours.txt must come to.
	Exit   int
	Prints *regexp.Regexp
}

// Name is what a test calls the line.
func (l Line) Name() string { return fmt.Sprintf("%s:%d", l.File, l.Number) }

const mark = " ## "

// Lines reads a file of cases. A mark after the command is one of: words,
// differs: REASON, exit N, prints REGEXP.
func Lines(path string) ([]Line, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Line
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		text := in.Text()
		if text == "" || text[0] == '#' {
			continue
		}
		parts := strings.Split(text, mark)
		l := Line{File: filepath.Base(path), Number: n, Command: parts[0]}
		for _, m := range parts[1:] {
			if err := l.mark(m); err != nil {
				return nil, fmt.Errorf("%s: %w", l.Name(), err)
			}
		}
		out = append(out, l)
	}
	return out, in.Err()
}

func (l *Line) mark(text string) (err error) {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "words":
		l.Words = true
	case "differs:":
		l.Differs = rest
	case "exit":
		l.Exit, err = strconv.Atoi(rest)
	case "prints":
		l.Prints, err = regexp.Compile(rest)
	default:
		err = fmt.Errorf("unknown mark %q", text)
	}
	return err
}

// Command is one row of cli.tsv.
type Command struct {
	Names []string // the full name and the aliases
	Flags []Flag
}

// Flag is one flag of a command.
type Flag struct{ Name, Short string }

// Commands reads cli.tsv.
func Commands(path string) ([]Command, error) {
	rows, err := table(path, 5)
	if err != nil {
		return nil, err
	}
	var out []Command
	for _, r := range rows {
		c := Command{Names: []string{r[0]}}
		if r[1] != "-" {
			c.Names = append(c.Names, strings.Split(r[1], ", ")...)
		}
		for _, f := range strings.Split(r[2], ",") {
			if f == "-" {
				continue
			}
			f, short, _ := strings.Cut(strings.TrimSuffix(f, ")"), "(")
			name, _, _ := strings.Cut(f, ":")
			c.Flags = append(c.Flags, Flag{name, short})
		}
		if r[4] != "-" {
			for _, f := range strings.Split(r[4], ",") {
				name, _, _ := strings.Cut(f, "=")
				c.Flags = append(c.Flags, Flag{Name: name})
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// Route is one row of api.tsv.
type Route struct {
	Method, Path, Group string
	Query               []string // names of the parameters
	Status              []int
}

// Routes reads api.tsv.
func Routes(path string) ([]Route, error) {
	rows, err := table(path, 9)
	if err != nil {
		return nil, err
	}
	var out []Route
	for _, r := range rows {
		route := Route{Method: r[0], Path: r[1], Group: r[2]}
		for _, p := range strings.Split(r[5], ",") {
			if name, _, ok := strings.Cut(p, ":"); ok && name != "H" {
				route.Query = append(route.Query, name)
			}
		}
		for _, s := range strings.Split(r[7], ",") {
			if code, err := strconv.Atoi(s); err == nil {
				route.Status = append(route.Status, code)
			}
		}
		out = append(out, route)
	}
	return out, nil
}

// Matches tells whether a request's path, with or without a version, is the route's.
func (r Route) Matches(method, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	path = version.ReplaceAllString(path, "")
	if method != r.Method {
		return false
	}
	pattern := "^" + variable.ReplaceAllString(regexp.QuoteMeta(r.Path), "[^/]+") + "$"
	return regexp.MustCompile(pattern).MatchString(path)
}

var (
	version  = regexp.MustCompile(`^/v1\.\d+`)
	variable = regexp.MustCompile(`\\\{\w+\\\}`)
)

func table(path string, columns int) ([][]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out [][]string
	for i, line := range strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n") {
		cells := strings.Split(line, "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(cells) != columns {
			return nil, fmt.Errorf("%s:%d has %d columns, want %d", path, i+1, len(cells), columns)
		}
		out = append(out, cells)
	}
	return out, nil
}

// Used returns the flags that a shell line gives to a command, by their long
// names, for every command of the line that the table knows. It reads words, not
// the shell: a flag of the command inside the container comes after the image,
// which ends the flags of run, create and exec.
func Used(commands []Command, line string, use func(c *Command, flag string)) {
	for _, part := range separators.Split(line, -1) {
		words := strings.Fields(part)
		if len(words) == 0 || words[0] != "docker" && words[0] != "sampan" {
			continue
		}
		c, rest := find(commands, words[1:])
		if c == nil {
			continue
		}
		use(c, "")
		for _, w := range rest {
			if w == "busybox:test" || w == "--" {
				break
			}
			if !strings.HasPrefix(w, "-") || w == "-" {
				continue
			}
			name, _, _ := strings.Cut(w, "=")
			for _, f := range c.Flags {
				if name == f.Name || f.Short != "" && !strings.HasPrefix(w, "--") && len(w) <= 4 && strings.Contains(w, f.Short[1:]) {
					use(c, f.Name)
				}
			}
		}
	}
}

var separators = regexp.MustCompile(`;|&&|\||& `)

// find returns the command with the longest name that the words begin with.
func find(commands []Command, words []string) (best *Command, rest []string) {
	longest := 0
	for i := range commands {
		for _, name := range commands[i].Names {
			n := strings.Fields(name)
			if len(n) > longest && len(n) <= len(words) && slices.Equal(n, words[:len(n)]) {
				best, rest, longest = &commands[i], words[len(n):], len(n)
			}
		}
	}
	return best, rest
}
