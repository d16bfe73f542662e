// Package box is sampan-box: a shell and core tools in one static binary, the
// content of the built-in image sampan/box. The program that runs is chosen by
// the name it is called by, or by its first argument:
//
//	/bin/ls -l      sampan-box ls -l
//
// The tools live in the packages below, by topic; each is a function of its
// streams and arguments, so that tests can call it. They cover what people and
// scripts use of POSIX and the GNU options, not all of them; what is missing is
// refused by name.
package box

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/archive"
	"github.com/sampan-containers/sampan/box/files"
	"github.com/sampan-containers/sampan/box/network"
	"github.com/sampan-containers/sampan/box/shell"
	"github.com/sampan-containers/sampan/box/system"
	"github.com/sampan-containers/sampan/box/text"
	"github.com/sampan-containers/sampan/box/tool"
)

const (
	self           = "sampan-box"
	statusNotFound = 127
	outBuffer      = 32 << 10
)

// Tools returns all applets, sorted by name.
func Tools() []tool.Tool {
	list := slices.Concat(archive.Tools(), files.Tools(), network.Tools(), shell.Tools(), system.Tools(), text.Tools())
	slices.SortFunc(list, func(a, b tool.Tool) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Main runs the applet that the arguments name and returns its exit status.
func Main(argv []string) int {
	// A login shell is called as -sh.
	name, args := strings.TrimPrefix(filepath.Base(argv[0]), "-"), argv[1:]
	if name == "sh" && strings.HasPrefix(argv[0], "-") {
		args = append([]string{"-l"}, args...)
	}
	if strings.HasPrefix(name, self) {
		if len(args) == 0 || args[0] == "--help" || args[0] == "--list" {
			return usage(args)
		}
		name, args = filepath.Base(args[0]), args[1:]
	}
	for _, t := range Tools() {
		if t.Name == name {
			return run(&t, args)
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %s: no such applet (%s --list shows them)\n", self, name, self)
	return statusNotFound
}

func run(t *tool.Tool, args []string) int {
	if os.Getpid() == 1 && t.Name != "sh" {
		go endOnSignal()
	}
	out := bufio.NewWriterSize(os.Stdout, outBuffer)
	c := &tool.Call{Name: t.Name, Usage: t.Usage, Args: args, In: os.Stdin, Out: out, Err: os.Stderr}
	status := t.Run(c)
	if err := out.Flush(); err != nil && status == tool.OK {
		return c.Fail("standard output: %s", tool.Reason(err))
	}
	return status
}

// endOnSignal stands for the default actions that the kernel spares a
// container's first process.
func endOnSignal() {
	const signalled = 128
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP)
	sig := <-ch
	os.Exit(signalled + int(sig.(unix.Signal)))
}

func usage(args []string) int {
	if len(args) == 0 || args[0] == "--help" {
		fmt.Printf("%s: a shell and core tools in one program\n\nusage: %s APPLET [ARG...], or a link to it named APPLET\n\napplets:\n", self, self)
	}
	for _, t := range Tools() {
		if len(args) > 0 && args[0] == "--list" {
			fmt.Println(t.Name)
		} else {
			fmt.Printf("  %s %s\n", t.Name, t.Usage)
		}
	}
	return tool.OK
}
