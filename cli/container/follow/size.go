package follow

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sampan-containers/sampan/cli/app"
)

// The process may not have its terminal yet when the first size is sent.
const (
	resizeTries = 10
	resizePause = 10 * time.Millisecond
)

// TerminalSize sends the terminal's size now and whenever it changes, until ctx
// ends.
func TerminalSize(ctx context.Context, a *app.App, send func(height, width uint) error) {
	if !a.Out.IsTerminal() {
		return
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		defer a.Term.OnPanic()
		defer signal.Stop(changed)
		sendSize(ctx, a, send)
		for {
			select {
			case <-changed:
				sendSize(ctx, a, send)
			case <-ctx.Done():
				return
			}
		}
	}()
}

// sendSize gives up silently: a size that cannot be set is no reason to
// disturb a session, and the next change tries again.
func sendSize(ctx context.Context, a *app.App, send func(height, width uint) error) {
	for try := range resizeTries {
		height, width := a.Out.Size()
		if height == 0 && width == 0 || send(height, width) == nil {
			return
		}
		select {
		case <-time.After(resizePause * time.Duration(try+1)):
		case <-ctx.Done():
			return
		}
	}
}
