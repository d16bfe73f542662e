package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

// logger writes the file of --log, in the form in which containerd and conmon read
// runc's: they take the last error from it.
type logger struct {
	file  *os.File
	json  bool
	debug bool
}

func (l *logger) open(name, format string, debug bool) error {
	switch format {
	case "", "text":
	case "json":
		l.json = true
	default:
		return fault.New(fault.Invalid, "--log-format %q is neither text nor json", format)
	}
	l.debug = debug
	if name == "" {
		if debug {
			l.file = os.Stderr
		}
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fault.New(fault.Invalid, "open the log file: %w", err)
	}
	l.file = f
	return nil
}

func (l *logger) write(level, msg string) {
	if l.file == nil {
		return
	}
	now := time.Now().Format(time.RFC3339)
	var line []byte
	if l.json {
		line, _ = json.Marshal(struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Time  string `json:"time"`
		}{level, msg, now})
	} else {
		line = fmt.Appendf(nil, "time=%q level=%s msg=%s", now, level, strconv.Quote(msg))
	}
	// A log that cannot be written must not keep a container from running.
	_, _ = l.file.Write(append(line, '\n'))
}

func (l *logger) failure(err error) {
	if l.file != os.Stderr {
		l.write("error", err.Error())
	}
}

// warn tells what was done otherwise than asked; without a log where runc tells it.
func (l *logger) warn(msg string) {
	out := *l
	if out.file == nil {
		out.file = os.Stderr
	}
	out.write("warning", msg)
}

func (l *logger) debugf(format string, args ...any) {
	if l.debug {
		l.write("debug", fmt.Sprintf(format, args...))
	}
}
