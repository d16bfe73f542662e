package external

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime"
)

// maxLog bounds what is read of a runtime's log.
const maxLog = 64 << 10

// program is a runtime's program with what every call of it needs.
type program struct {
	path   string
	args   []string
	dir    string // bundle, state and log of one container
	id     string
	mounts *os.File // the mount namespace in which it runs

	mu    sync.Mutex // guards what follows
	calls int
	gone  bool
}

// runtimeError is what a runtime said about a failure.
type runtimeError struct {
	program, command, text string
}

func (e *runtimeError) Error() string {
	return "the runtime " + e.program + " cannot " + e.command + " the container: " + e.text
}

// run calls the program with the given standard streams and waits for it.
func (p *program) run(stdio [3]*os.File, args ...string) error {
	log := filepath.Join(p.dir, p.next("log")+".json")
	defer os.Remove(log)
	argv := append([]string{p.path}, p.args...)
	argv = append(argv, "--root", filepath.Join(p.dir, "state"), "--log", log, "--log-format", "json")
	argv = append(argv, args...)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := make([]*os.File, len(stdio))
	for i, f := range stdio {
		if files[i] = f; f == nil {
			files[i] = null
		}
	}
	var status *os.ProcessState
	err = onThread(func() error {
		if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(p.mounts.Fd()), unix.CLONE_NEWNS)); err != nil {
			return fmt.Errorf("join the mount namespace of the runtime: %w", err)
		}
		child, err := os.StartProcess(p.path, argv, &os.ProcAttr{Dir: p.dir, Env: os.Environ(), Files: files})
		if err != nil {
			return fmt.Errorf("start the runtime %s: %s", p.path, cause(err))
		}
		status, err = child.Wait()
		return err
	})
	if errors.Is(err, unix.ECHILD) {
		return nil // collected with the container's orphans: it has ended, and no more is known
	}
	if err != nil {
		return err
	}
	if status.Success() {
		return nil
	}
	text := lastError(log)
	if text == "" {
		text = status.String() + ", and it does not say why"
	}
	return &runtimeError{filepath.Base(p.path), args[0], text}
}

// next names a file of one call: a call may hang while others are made.
func (p *program) next(prefix string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	return prefix + strconv.Itoa(p.calls)
}

// cause is an error's reason without the words that clients of the Engine API take
// for a missing or forbidden program of the container.
func cause(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return "there is no such program on the host (see --add-runtime)"
	case errors.Is(err, unix.EACCES):
		return "it may not be executed"
	}
	return err.Error()
}

// lastError returns the last message of level error in a runtime's log.
func lastError(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text := ""
	lines := bufio.NewScanner(io.LimitReader(f, maxLog))
	lines.Buffer(nil, maxLog)
	for lines.Scan() {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && (entry.Level == "error" || entry.Level == "fatal") {
			text = entry.Msg
		}
	}
	return text
}

// classed is a runtime's message with the class of Docker's exit codes.
type classed struct {
	text  string
	class error
}

func (e *classed) Error() string { return e.text }
func (e *classed) Unwrap() error { return e.class }

// classify finds out whether a failure is about the container's command. The runtimes
// have no codes for that, only words.
func classify(err error, args []string) error {
	var said *runtimeError
	if !errors.As(err, &said) || len(args) == 0 {
		return err
	}
	_, text, found := strings.Cut(said.text, "exec")
	if !found {
		return err
	}
	text = "exec" + strings.ToLower(text)
	switch {
	case strings.Contains(text, "executable file"):
		return &classed{`exec: "` + args[0] + `": executable file not found in $PATH`, runtime.ErrNotFound}
	case strings.Contains(text, "no such file or directory"):
		return &classed{"exec " + args[0] + ": no such file or directory (in the container: the file itself, or the interpreter that it names)", runtime.ErrNotFound}
	case strings.Contains(text, "permission denied"), strings.Contains(text, "is a directory"), strings.Contains(said.text, "open executable"):
		return &classed{"exec " + args[0] + ": permission denied (it is a directory, or the user has no right to execute it)", runtime.ErrNotExecutable}
	case strings.Contains(text, "exec format error"):
		return &classed{"exec " + args[0] + ": exec format error (it is no program for this machine, or a script without #! in its first line)", runtime.ErrNotExecutable}
	}
	return err
}
