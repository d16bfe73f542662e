// Report reads the events of `go test -json` and prints what `go test` itself
// prints without -v: a line for each package and the output of what failed.
// To that it adds a line for each skipped test with its reason, which go test
// shows only with -v, among everything else. It exits with 1 if anything failed
// or nothing was read.
//
//	go test -json ./... | report
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is what cmd/test2json writes, one a line; what it has beyond these
// fields is not needed here.
type event struct {
	Action      string
	Package     string
	Test        string
	Output      string
	ImportPath  string // of a build-output
	FailedBuild string
}

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// report returns whether all that it read of passed.
func report(in io.Reader, out io.Writer) (bool, error) {
	r := &reporter{out: out, output: map[name][]string{}, builds: map[string][]string{}, ok: true}
	reader := bufio.NewReader(in)
	for seen := false; ; {
		line, err := reader.ReadString('\n')
		if line != "" {
			seen = true
			r.line(line)
		}
		switch {
		case errors.Is(err, io.EOF) && !seen:
			return false, errors.New("no test said anything")
		case errors.Is(err, io.EOF):
			return r.ok, nil
		case err != nil:
			return false, err
		}
	}
}

// name is of one test, or with an empty test of its package.
type name struct{ pkg, test string }

type reporter struct {
	out    io.Writer
	output map[name][]string   // kept until it is known how the test ended
	builds map[string][]string // what the compiler said of a package
	ok     bool
}

func (r *reporter) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		// go test itself speaks beside its events, of a pattern that matches nothing for one.
		fmt.Fprint(r.out, line)
		return
	}
	of := name{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.output[of] = append(r.output[of], e.Output)
	case "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
	case "skip":
		r.skip(of)
	case "fail":
		r.fail(of, e.FailedBuild)
	case "pass":
		if e.Test == "" {
			r.closing(of)
		}
		delete(r.output, of)
	}
}

// skip says why; a package is skipped when it has no tests.
func (r *reporter) skip(of name) {
	if of.test == "" {
		r.closing(of)
	} else {
		fmt.Fprintf(r.out, "skipped: %s %s: %s\n", of.pkg, of.test, reason(r.output[of]))
	}
	delete(r.output, of)
}

// reason is what the test logged, without the place in front of it.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		if framing(line) || strings.HasPrefix(strings.TrimSpace(line), "--- SKIP") {
			continue
		}
		line = strings.TrimSpace(line)
		if place, text, found := strings.Cut(line, ": "); found && strings.Contains(place, ".go:") {
			line = text
		}
		said = append(said, strings.TrimPrefix(line, "skipped: "))
	}
	if len(said) == 0 {
		return "(it gives no reason)"
	}
	return strings.Join(said, " ")
}

func (r *reporter) fail(of name, build string) {
	r.ok = false
	for _, line := range r.builds[build] {
		fmt.Fprint(r.out, line)
	}
	delete(r.builds, build)
	for _, line := range r.output[of] {
		if !framing(line) {
			fmt.Fprint(r.out, line)
		}
	}
	delete(r.output, of)
	if of.test == "" {
		// Tests that a panic or a time-out cut off have no end of their own.
		for cut, lines := range r.output {
			if cut.pkg == of.pkg {
				fmt.Fprint(r.out, strings.Join(lines, ""))
				delete(r.output, cut)
			}
		}
	}
}

// closing prints a package's own last line, and why it skipped itself.
func (r *reporter) closing(of name) {
	for _, line := range r.output[of] {
		switch first, _, _ := strings.Cut(line, "\t"); {
		case strings.HasPrefix(line, "skipped: "):
			fmt.Fprintf(r.out, "skipped: %s: %s", of.pkg, strings.TrimPrefix(line, "skipped: "))
		case strings.TrimSpace(first) == "ok", strings.TrimSpace(first) == "?", strings.Contains(line, "[no test files]"):
			fmt.Fprint(r.out, line)
		}
	}
}

// framing tells whether -v, which -json implies, has written the line.
func framing(line string) bool {
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}
