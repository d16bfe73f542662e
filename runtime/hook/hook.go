// Package hook runs the hooks of an OCI specification on the host, with the state of
// the container on their standard input (config.md, POSIX-platform hooks). Hooks that
// run in the container are part of its launch program and not here.
//
// A hook that exceeds its timeout is killed; what it forked is not waited for.
package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// maxOutput bounds what of a failed hook's output goes into the error.
	maxOutput = 4 << 10
	// afterEnd bounds how long output is read that something holds open which a hook
	// left behind.
	afterEnd = time.Second
)

// Run runs the hooks of one point, one after the other, and returns the first failure.
func Run(ctx context.Context, point string, hooks []specs.Hook, state *specs.State) error {
	return each(ctx, point, hooks, state, func(err error) bool { return false })
}

// RunAll runs all hooks of a point whose failures change nothing (poststart and
// poststop; runtime.md, lifecycle), and tells each failure to warn.
func RunAll(ctx context.Context, point string, hooks []specs.Hook, state *specs.State, warn func(string)) {
	_ = each(ctx, point, hooks, state, func(err error) bool {
		warn(err.Error())
		return true
	})
}

func each(ctx context.Context, point string, hooks []specs.Hook, state *specs.State, goOn func(error) bool) error {
	if len(hooks) == 0 {
		return nil
	}
	input, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for i, h := range hooks {
		if err := run(ctx, h, input); err != nil {
			err = fmt.Errorf("error running %s hook #%d: %s: %w", point, i, h.Path, err)
			if !goOn(err) {
				return err
			}
		}
	}
	return nil
}

// Env is what a hook in the container's namespaces gets: without an environment of its
// own what runc gives it, which is the runtime's on the host's file system and that of
// the program in the container.
func Env(h specs.Hook, host bool, p *specs.Process) []string {
	switch {
	case h.Env != nil:
		return h.Env
	case host:
		return os.Environ()
	}
	return p.Env
}

func run(ctx context.Context, h specs.Hook, input []byte) error {
	if h.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args = h.Args
	if len(cmd.Args) == 0 {
		cmd.Args = []string{h.Path}
	}
	cmd.Env = h.Env // without one it gets ours, as from runc
	cmd.Stdin = bytes.NewReader(input)
	cmd.WaitDelay = afterEnd
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("it did not end in its time of %d s", *h.Timeout)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrNotExist):
		return errors.New("it does not exist on the host")
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // the hook itself has succeeded
	case err != nil:
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out[:min(len(out), maxOutput)]))
	}
	return nil
}
