package follow

import (
	"context"
	"errors"
	"net/url"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/connect"
)

// Streams say which of a container's streams are wanted.
type Streams struct {
	Stdin, Stdout, Stderr bool
	TTY                   bool
	DetachKeys            string
}

// Attach opens a container's streams.
func Attach(ctx context.Context, a *app.App, conn *connect.Conn, id string, o Streams) (*Session, error) {
	q := url.Values{"stream": {"1"}}
	for name, on := range map[string]bool{"stdin": o.Stdin, "stdout": o.Stdout, "stderr": o.Stderr} {
		if on {
			q.Set(name, "1")
		}
	}
	if o.DetachKeys != "" {
		q.Set("detachKeys", o.DetachKeys)
	}
	stream, err := conn.Hijack(ctx, "/containers/"+url.PathEscape(id)+"/attach", q, nil)
	if err != nil {
		return nil, err
	}
	s := &Session{App: a, Stream: stream, TTY: o.TTY, DetachKeys: o.DetachKeys}
	if o.Stdin {
		s.Stdin = a.In
	}
	if o.Stdout {
		s.Stdout = a.Out
	}
	if o.Stderr {
		s.Stderr = a.Err
	}
	return s, nil
}

// CheckTTY refuses a terminal session whose input is not one: keys would reach
// the process twice or not at all.
func CheckTTY(a *app.App, attachStdin, tty bool) error {
	if attachStdin && tty && !a.In.IsTerminal() {
		return errors.New("the input device is not a TTY (leave out -t, or run the command in a terminal)")
	}
	return nil
}
