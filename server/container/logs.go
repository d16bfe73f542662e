package container

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) logs(c *server.Call) error {
	o, err := logsOptions(c)
	if err != nil {
		return err
	}
	tty, err := r.containers.TTY(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := c.Stream()
	defer cancel()
	out := c.StreamWriter(c.StreamType(tty))
	defer out.Close()
	switch {
	case o.Follow:
		// A quiet container must not keep its follower waiting for the header.
		// Without follow the first line is at hand, or an error gets its status.
		out.Start()
	case o.Grep == nil: // which may find little in much
		out.Whole()
	}
	emit := func(stream string, data []byte) error {
		switch {
		case tty:
			_, err := out.Write(data)
			return err
		case stream == "stderr":
			return out.Frame(server.Stderr, data)
		default:
			return out.Frame(server.Stdout, data)
		}
	}
	err = r.containers.Logs(ctx, c.Name, o, emit)
	if err == nil || ctx.Err() != nil || errors.Is(err, io.ErrClosedPipe) {
		if ctx.Err() == nil {
			out.Start() // an empty log is an empty answer
		}
		return nil
	}
	if !out.Started() {
		return err
	}
	text := fmt.Appendf(nil, "Error grabbing logs: %v\n", err)
	if tty {
		_, _ = out.Write(text)
	} else {
		_ = out.Frame(server.SystemErr, text)
	}
	return nil
}

// maxExpression bounds the text of a regular expression.
const maxExpression = 4 << 10

func logsOptions(c *server.Call) (o container.LogsOptions, err error) {
	o = container.LogsOptions{
		Stdout: c.Bool("stdout"), Stderr: c.Bool("stderr"), Follow: c.Bool("follow"),
		Timestamps: c.Bool("timestamps"), Details: c.Bool("details"), Tail: -1,
	}
	if !o.Stdout && !o.Stderr {
		return o, fault.New(fault.Invalid, "Bad parameters: you must choose at least one stream")
	}
	if text := c.Query("grep"); text != "" {
		// Beyond Docker: lines that match. RE2 takes time in proportion to the text.
		if len(text) > maxExpression {
			return o, fault.New(fault.Invalid, "the expression of parameter grep has %d bytes, more than the limit of %d", len(text), maxExpression)
		}
		if o.Grep, err = regexp.Compile(text); err != nil {
			return o, fault.New(fault.Invalid, "invalid value of parameter grep: %v", err)
		}
	}
	if o.Since, err = c.Time("since"); err != nil {
		return o, err
	}
	if o.Until, err = c.Time("until"); err != nil {
		return o, err
	}
	if tail := c.Query("tail"); tail != "" && tail != "all" {
		if o.Tail, err = strconv.Atoi(tail); err != nil {
			return o, fault.New(fault.Invalid, "invalid value %q of parameter tail: want a number of lines or \"all\"", tail)
		}
		o.Tail = max(o.Tail, -1)
	}
	return o, nil
}
