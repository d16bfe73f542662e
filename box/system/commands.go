package system

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/box/tool"
)

const (
	statusNotRunnable = 126
	statusNotFound    = 127
	statusSignalled   = 128
	statusTimedOut    = 124
)

func ownerOf(st os.FileInfo) uint32 { return st.Sys().(*syscall.Stat_t).Uid }

// become replaces this process by a command; it returns only when it cannot.
func become(c *tool.Call, args []string, env []string) int {
	path, err := exec.LookPath(args[0])
	if err == nil {
		if err := c.Out.Flush(); err != nil {
			return tool.Failed
		}
		err = unix.Exec(path, args, env)
	}
	return cannotRun(c, args[0], err)
}

func cannotRun(c *tool.Call, name string, err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		c.Fail("%s: not found", name)
		return statusNotFound
	}
	c.Fail("%s: %s", name, tool.Reason(err))
	return statusNotRunnable
}

func command(c *tool.Call, args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.In, c.Out, c.Err
	if c.In == os.Stdin {
		cmd.Stdout = os.Stdout
	}
	return cmd
}

// statusOf turns the result of a command into an exit status.
func statusOf(c *tool.Call, name string, err error) int {
	var exited *exec.ExitError
	switch {
	case err == nil:
		return tool.OK
	case !errors.As(err, &exited):
		return cannotRun(c, name, err)
	}
	if status := exited.Sys().(syscall.WaitStatus); status.Signaled() {
		return statusSignalled + int(status.Signal())
	}
	return exited.ExitCode()
}

func env(c *tool.Call) int {
	o, status, ok := c.Options("+iu:0 i=ignore-environment u=unset")
	if !ok {
		return status
	}
	vars := os.Environ()
	if o.Has('i') {
		vars = nil
	}
	drop := func(name string) {
		kept := vars[:0:0]
		for _, v := range vars {
			if !strings.HasPrefix(v, name+"=") {
				kept = append(kept, v)
			}
		}
		vars = kept
	}
	for _, name := range o.Values('u') {
		drop(name)
	}
	args := o.Args
	for len(args) > 0 && strings.Contains(args[0], "=") {
		name, _, _ := strings.Cut(args[0], "=")
		drop(name)
		vars = append(vars, args[0])
		args = args[1:]
	}
	if len(args) > 0 {
		return become(c, args, vars)
	}
	for _, v := range vars {
		fmt.Fprintln(c.Out, v)
	}
	return tool.OK
}

func printenv(c *tool.Call) int {
	if len(c.Args) == 0 {
		for _, v := range os.Environ() {
			fmt.Fprintln(c.Out, v)
		}
	}
	status := tool.OK
	for _, name := range c.Args {
		if v, ok := os.LookupEnv(name); ok {
			fmt.Fprintln(c.Out, v)
		} else {
			status = tool.Failed
		}
	}
	return status
}

func chroot(c *tool.Call) int {
	if len(c.Args) == 0 {
		return c.Misused("needs a directory")
	}
	if err := unix.Chroot(c.Args[0]); err != nil {
		return c.FailPath(c.Args[0], err)
	}
	if err := os.Chdir("/"); err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	args := c.Args[1:]
	if len(args) == 0 {
		args = []string{"/bin/sh"}
	}
	return become(c, args, os.Environ())
}

func nohup(c *tool.Call) int {
	if len(c.Args) == 0 {
		return c.Misused("needs a command")
	}
	signal.Ignore(unix.SIGHUP)
	return become(c, c.Args, os.Environ())
}

// duration reads 1, 0.5, 2m, 1h30m and infinity.
func duration(text string) (time.Duration, error) {
	if text == "infinity" || text == "inf" {
		return 1<<63 - 1, nil
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	unit := time.Second
	number := text
	if text != "" && units[text[len(text)-1]] != 0 {
		unit, number = units[text[len(text)-1]], text[:len(text)-1]
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is not a time such as 1.5 or 2m", text)
	}
	if v*float64(unit) > float64(1<<63-1) {
		return 1<<63 - 1, nil
	}
	return time.Duration(v * float64(unit)), nil
}

func sleep(c *tool.Call) int {
	if len(c.Args) == 0 {
		return c.Misused("needs a time")
	}
	var total time.Duration
	for _, arg := range c.Args {
		d, err := duration(arg)
		if err != nil {
			return c.Misused("%s", err)
		}
		if total += d; total < 0 {
			total = 1<<63 - 1
		}
	}
	time.Sleep(total)
	return tool.OK
}

func timeCommand(c *tool.Call) int {
	o, status, ok := c.Options("+p")
	if !ok {
		return status
	}
	if len(o.Args) == 0 {
		return c.Misused("needs a command")
	}
	cmd := command(c, o.Args)
	begin := time.Now()
	err := cmd.Run()
	real := time.Since(begin)
	status = statusOf(c, o.Args[0], err)
	if cmd.ProcessState != nil {
		fmt.Fprintf(c.Err, "real\t%.3fs\nuser\t%.3fs\nsys\t%.3fs\n", real.Seconds(), cmd.ProcessState.UserTime().Seconds(), cmd.ProcessState.SystemTime().Seconds())
	}
	return status
}

func timeout(c *tool.Call) int {
	o, status, ok := c.Options("+s:k: s=signal k=kill-after")
	if !ok {
		return status
	}
	if len(o.Args) < 2 {
		return c.Misused("needs a time and a command")
	}
	limit, err := duration(o.Args[0])
	if err != nil {
		return c.Misused("%s", err)
	}
	after, err := duration(o.Value('k', "infinity"))
	if err != nil {
		return c.Misused("%s", err)
	}
	sig, known := parseSignal(o.Value('s', "TERM"))
	if !known {
		return c.Misused("unknown signal %s", o.Value('s', ""))
	}
	cmd := command(c, o.Args[1:])
	if err := cmd.Start(); err != nil {
		return statusOf(c, o.Args[1], err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return statusOf(c, o.Args[1], err)
	case <-time.After(limit):
	}
	_ = cmd.Process.Signal(sig) // it may just have ended
	select {
	case <-done:
		return statusTimedOut
	case <-time.After(after):
	}
	_ = cmd.Process.Kill()
	<-done
	return statusSignalled + int(unix.SIGKILL)
}

func watch(c *tool.Call) int {
	o, status, ok := c.Options("+n:t n=interval t=no-title")
	if !ok {
		return status
	}
	pause, err := duration(o.Value('n', "2"))
	if err != nil || len(o.Args) == 0 {
		return c.Misused("needs a command")
	}
	for {
		fmt.Fprint(c.Out, "\x1b[H\x1b[2J")
		if !o.Has('t') {
			fmt.Fprintf(c.Out, "Every %s: %s\t%s\n\n", pause, strings.Join(o.Args, " "), time.Now().Format(time.ANSIC))
		}
		if err := c.Out.Flush(); err != nil {
			return tool.Failed
		}
		if err := command(c, []string{"sh", "-c", strings.Join(o.Args, " ")}).Run(); err != nil {
			statusOf(c, "sh", err)
		}
		time.Sleep(pause)
	}
}

// maxArguments bounds the text of one command of xargs; the kernel takes 2 MiB.
const maxArguments = 128 << 10

func xargs(c *tool.Call) int {
	o, status, ok := c.Options("+0rtn:I:P:L:d: 0=null r=no-run-if-empty t=verbose n=max-args I=replace P=max-procs d=delimiter")
	if !ok {
		return status
	}
	most, err1 := strconv.Atoi(o.Value('n', "1000000"))
	procs, err2 := strconv.Atoi(o.Value('P', "1"))
	if err1 != nil || err2 != nil || most < 1 || procs < 0 {
		return c.Misused("needs numbers of at least 1")
	}
	base := o.Args
	if len(base) == 0 {
		base = []string{"echo"}
	}
	x := &batcher{c: c, slots: make(chan struct{}, max(1, procs)), trace: o.Has('t')}
	replace := o.Value('I', "")
	var words []string
	size := 0
	flush := func() {
		if len(words) > 0 {
			x.run(append(append([]string{}, base...), words...))
		}
		words, size = nil, 0
	}
	ran := false
	err := splitInput(c.In, o, func(word string) {
		ran = true
		if replace != "" {
			args := make([]string, len(base))
			for i, a := range base {
				args[i] = strings.ReplaceAll(a, replace, word)
			}
			x.run(args)
			return
		}
		if len(words) == most || size+len(word) > maxArguments {
			flush()
		}
		words = append(words, word)
		size += len(word) + 1
	})
	flush()
	if !ran && !o.Has('r') && replace == "" {
		x.run(base)
	}
	x.wait.Wait()
	if err != nil {
		return c.Fail("%s", tool.Reason(err))
	}
	return x.status
}

type batcher struct {
	c      *tool.Call
	slots  chan struct{}
	trace  bool
	wait   sync.WaitGroup
	mu     sync.Mutex
	status int
}

func (x *batcher) run(args []string) {
	if x.trace {
		fmt.Fprintln(x.c.Err, strings.Join(args, " "))
	}
	x.slots <- struct{}{}
	x.wait.Add(1)
	one := func() {
		defer func() { <-x.slots; x.wait.Done() }()
		cmd := command(x.c, args)
		cmd.Stdin = nil // the words come from there
		err := cmd.Run()
		x.mu.Lock()
		defer x.mu.Unlock()
		switch status := statusOf(x.c, args[0], err); {
		case status == statusNotFound || status == statusNotRunnable:
			x.status = status
		case status != tool.OK && x.status == tool.OK:
			x.status = 123
		}
	}
	if cap(x.slots) == 1 {
		one()
		return
	}
	go one()
}

// splitInput hands on the words of the input: at blanks with quotes and
// backslashes, or with -0, -d and -I at one byte.
func splitInput(r io.Reader, o *tool.Options, f func(string)) error {
	b := bufio.NewReader(r)
	end := byte(0)
	switch {
	case o.Has('0'):
	case o.Has('d'):
		d := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\0`, "\x00").Replace(o.Value('d', "\n"))
		end = d[0]
	case o.Has('I') || o.Has('L'):
		end = '\n'
	default:
		return splitWords(b, f)
	}
	for {
		text, err := b.ReadString(end)
		text = strings.TrimSuffix(text, string(end))
		if end == '\n' && o.Has('I') {
			text = strings.TrimLeft(text, " \t")
		}
		if text != "" || err == nil && end != '\n' {
			f(text)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func splitWords(b *bufio.Reader, f func(string)) error {
	var word strings.Builder
	var quote byte
	has := false
	for {
		ch, err := b.ReadByte()
		if err != nil {
			if has {
				f(word.String())
			}
			if err == io.EOF {
				err = nil
			}
			if err == nil && quote != 0 {
				err = errors.New("a quote in the input is not closed")
			}
			return err
		}
		switch {
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(ch)
		case ch == '\'' || ch == '"':
			quote, has = ch, true
		case ch == '\\':
			if ch, err = b.ReadByte(); err == nil {
				word.WriteByte(ch)
				has = true
			}
		case ch == ' ' || ch == '\t' || ch == '\n':
			if has {
				f(word.String())
				word.Reset()
				has = false
			}
		default:
			word.WriteByte(ch)
			has = true
		}
	}
}
