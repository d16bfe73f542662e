package container

import (
	"context"
	"errors"
	"net/url"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/connect"
)

// attachOptions say which streams of a container are wanted.
type attachOptions struct {
	stdin, stdout, stderr bool
	tty                   bool
	detachKeys            string
}

// attach opens a container's streams.
func attach(ctx context.Context, a *app.App, conn *connect.Conn, id string, o attachOptions) (*session, error) {
	q := url.Values{"stream": {"1"}}
	for name, on := range map[string]bool{"stdin": o.stdin, "stdout": o.stdout, "stderr": o.stderr} {
		if on {
			q.Set(name, "1")
		}
	}
	if o.detachKeys != "" {
		q.Set("detachKeys", o.detachKeys)
	}
	stream, err := conn.Hijack(ctx, "/containers/"+url.PathEscape(id)+"/attach", q, nil)
	if err != nil {
		return nil, err
	}
	s := &session{app: a, stream: stream, tty: o.tty, detachKeys: o.detachKeys}
	if o.stdin {
		s.stdin = a.In
	}
	if o.stdout {
		s.stdout = a.Out
	}
	if o.stderr {
		s.stderr = a.Err
	}
	return s, nil
}

// checkTTY refuses a terminal session whose input is not one: keys would reach
// the process twice or not at all.
func checkTTY(a *app.App, attachStdin, tty bool) error {
	if attachStdin && tty && !a.In.IsTerminal() {
		return errors.New("the input device is not a TTY (leave out -t, or run the command in a terminal)")
	}
	return nil
}
