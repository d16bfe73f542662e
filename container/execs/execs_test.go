package execs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/handle"
)

type shim struct {
	Shim
	state handle.ExecState
	err   error
}

func (s *shim) ExecState(context.Context, string) (handle.ExecState, error) { return s.state, s.err }

func TestLife(t *testing.T) {
	var r Registry
	sh := &shim{state: handle.ExecState{Running: true, Pid: 7}}
	x := &Exec{ID: "x1", Container: "c", Shim: sh, Request: &container.ExecCreateRequest{Cmd: []string{"id", "-u"}}}
	if err := r.Add(x); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Find("other"); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	if got := x.Inspect(t.Context()); got.Running || got.ExitCode != nil || got.ProcessConfig.Arguments[0] != "-u" {
		t.Errorf("prepared: %+v", got)
	}
	if err := x.Claim(); err != nil {
		t.Fatal(err)
	}
	if err := x.Claim(); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second start gave %v", err)
	}
	// Who asks while it is being started waits for the answer.
	asked := make(chan *container.ExecInspectResponse)
	go func() { asked <- x.Inspect(t.Context()) }()
	x.Began(7)
	if got := <-asked; !got.Running || got.Pid != 7 {
		t.Errorf("starting: %+v", got)
	}
	if ids := r.Running("c"); len(ids) != 1 {
		t.Errorf("running: %v", ids)
	}
	if got := x.Inspect(t.Context()); !got.Running || got.Pid != 7 || got.ExitCode != nil {
		t.Errorf("running: %+v", got)
	}
	// The shim knows of the end before we do.
	sh.state = handle.ExecState{ExitCode: 3}
	if got := x.Inspect(t.Context()); got.Running || got.ExitCode == nil || *got.ExitCode != 3 {
		t.Errorf("ended: %+v", got)
	}
	sh.err = errors.New("gone")
	r.Over("c", 137)
	x.End(0) // too late
	if got := x.Status(t.Context()); got.Running || got.ExitCode != 137 {
		t.Errorf("after the container's end: %+v", got)
	}
	x.at = time.Now().Add(-2 * kept)
	if err := r.Add(&Exec{ID: "x2", Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Find("x1"); !errors.Is(err, fault.NotFound) {
		t.Error("an old exec is still known")
	}
	r.Forget("c")
	if _, err := r.Find("x2"); !errors.Is(err, fault.NotFound) {
		t.Error("an exec of a removed container is still known")
	}
}

func TestAwaitStart(t *testing.T) {
	for name, began := range map[string]bool{"runs": true, "fails": false} {
		t.Run(name, func(t *testing.T) {
			x := &Exec{ID: "x"}
			got := make(chan error, 2)
			for range 2 {
				go func() { got <- x.AwaitStart(t.Context()) }()
			}
			if began {
				x.Began(5)
			} else {
				x.End(127)
			}
			for range 2 {
				if err := <-got; (err == nil) != began {
					t.Errorf("got %v", err)
				}
			}
			if err := x.AwaitStart(t.Context()); (err == nil) != began {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Exec{ID: "never"}).AwaitStart(ctx); !errors.Is(err, fault.Deadline) {
		t.Errorf("got %v", err)
	}
}
