package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/syntax"

	"github.com/sampan-containers/sampan/box/applets"
)

// converse reads lines from the terminal until exit or Ctrl-D.
func (s *shell) converse() int {
	before, err := term.GetState(int(os.Stdin.Fd()))
	if err == nil {
		defer term.Restore(int(os.Stdin.Fd()), before)
	}
	s.history = newEditor(os.Stdin, os.Stderr)
	s.history.complete = s.complete
	status := 0
	for {
		s.jobs.report(os.Stderr, false)
		s.pendingTraps()
		file, text, err := s.readCommand()
		switch {
		case errors.Is(err, errInterrupted):
			status = statusSignalled + 2
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(os.Stderr, "exit")
			return s.leave(status)
		case err != nil:
			if file == nil && text == "" {
				return s.leave(status) // the terminal is gone
			}
			fmt.Fprintf(os.Stderr, "sh: %v\n", err)
			status = statusMisuse
			continue
		}
		var exit bool
		if status, exit = s.line(file, text); exit {
			return status
		}
		if before != nil {
			// A program that died may have left the terminal raw.
			_ = term.Restore(int(os.Stdin.Fd()), before)
		}
	}
}

// line runs one complete command.
func (s *shell) line(file *syntax.File, text string) (status int, exit bool) {
	for _, stmt := range file.Stmts {
		s.jobs.begin(text)
		ctx, done := s.traps.begin()
		status, exit = s.run(ctx, stmt)
		interrupted := ctx.Err() != nil
		done()
		if exit {
			return status, true
		}
		if interrupted {
			fmt.Fprintln(os.Stderr)
			return status, false
		}
	}
	return status, false
}

// readCommand reads lines until they make a whole command.
func (s *shell) readCommand() (*syntax.File, string, error) {
	prompt, text := s.prompt(), ""
	for {
		line, err := s.history.read(prompt)
		if err != nil {
			if errors.Is(err, io.EOF) && text != "" {
				err = errors.New("syntax error: unexpected end of input")
				return nil, text, err
			}
			return nil, "", err
		}
		text += line + "\n"
		file, err := syntax.NewParser().Parse(strings.NewReader(text), "")
		if err != nil && syntax.IsIncomplete(err) {
			prompt = "> "
			continue
		}
		s.history.remember(strings.TrimSuffix(text, "\n"))
		return file, strings.TrimSpace(text), err
	}
}

// prompt shows PS1 with \u \h \w \$, or host:directory.
func (s *shell) prompt() string {
	mark := "$"
	if os.Geteuid() == 0 {
		mark = "#"
	}
	host, _ := os.Hostname() // empty if the kernel does not say
	dir := s.runner.Dir
	if home := s.variable("HOME"); home != "" && home != "/" {
		if rest, ok := strings.CutPrefix(dir, home); ok && (rest == "" || rest[0] == '/') {
			dir = "~" + rest
		}
	}
	ps1 := s.variable("PS1")
	if ps1 == "" {
		return fmt.Sprintf("\x1b[1;32m%s\x1b[0m:\x1b[1;34m%s\x1b[0m%s ", host, dir, mark)
	}
	name := "?"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return strings.NewReplacer(`\u`, name, `\h`, host, `\w`, dir, `\W`, filepath.Base(dir), `\$`, mark, `\[`, "", `\]`, "", `\e`, "\x1b", `\033`, "\x1b", `\n`, "\r\n").Replace(ps1)
}

func (s *shell) variable(name string) string {
	if v, ok := s.runner.Vars[name]; ok {
		return v.String()
	}
	return s.runner.Env.Get(name).String()
}

// pendingTraps runs the callbacks of signals that came while nothing ran.
func (s *shell) pendingTraps() {
	for {
		callback, ok := s.traps.next()
		if !ok {
			return
		}
		s.eval(callback)
	}
}

func (s *shell) eval(text string) int {
	file, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return statusMisuse
	}
	status, _ := s.run(context.Background(), file)
	return status
}

// leave runs the EXIT trap and returns the status.
func (s *shell) leave(status int) int {
	return s.eval(fmt.Sprintf("exit %d", status))
}

// end is for signals: the terminal is put right and the shell is gone.
func (s *shell) end(status int) {
	s.jobs.restore()
	os.Exit(status)
}

// complete offers commands for the first word and paths for the others.
func (s *shell) complete(line string, _ int) (int, []string) {
	start := strings.LastIndexAny(line, " \t;|&<>()=") + 1
	word := line[start:]
	before := strings.TrimRight(line[:start], " \t")
	first := before == "" || strings.ContainsAny(before[len(before)-1:], ";|&(")
	var words []string
	if first && !strings.Contains(word, "/") {
		words = s.commands(word)
	} else {
		words = s.paths(word)
	}
	slices.Sort(words)
	return len([]rune(line[:start])), slices.Compact(words)
}

func (s *shell) commands(prefix string) []string {
	var words []string
	add := func(name string) {
		if strings.HasPrefix(name, prefix) {
			words = append(words, name)
		}
	}
	for _, name := range applets.Names() {
		if name != "[" {
			add(name)
		}
	}
	for _, name := range []string{"alias", "cd", "exit", "export", "fg", "bg", "history", "jobs", "read", "set", "source", "type", "umask", "unset", "wait"} {
		add(name)
	}
	for dir := range strings.SplitSeq(s.variable("PATH"), ":") {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			add(e.Name())
		}
	}
	return words
}

func (s *shell) paths(word string) []string {
	dir, base := filepath.Split(word)
	at := dir
	if home := s.variable("HOME"); strings.HasPrefix(at, "~/") {
		at = home + at[1:]
	}
	if !filepath.IsAbs(at) {
		at = filepath.Join(s.runner.Dir, at)
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil
	}
	var words []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base) || base == "" && strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := dir + escape(e.Name())
		if st, err := os.Stat(filepath.Join(at, e.Name())); err == nil && st.IsDir() {
			name += "/"
		}
		words = append(words, name)
	}
	return words
}

// escape protects what the shell would read as more than a name.
func escape(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(" \t\\'\"$`*?[](){}<>|&;!#~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
