package container

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

// waits tells when somebody waits with a context.
type waits struct {
	context.Context
	told func()
}

func (w waits) Done() <-chan struct{} {
	w.told()
	return w.Context.Done()
}

// A restart policy may start a container while a removal waits for its lock, as
// after the daemon's own start.
func TestRemoveOfOneThatIsJustStarting(t *testing.T) {
	for name, tt := range map[string]struct {
		force bool
		want  error
	}{"forced": {true, nil}, "not forced": {false, fault.Conflict}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.newDaemon()
			id := d.create(t, "web")
			e, err := d.containers.Find(id)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			waiting, result := make(chan struct{}), make(chan error, 1)
			go func() {
				ctx := waits{t.Context(), sync.OnceFunc(func() { close(waiting) })}
				result <- d.Remove(ctx, id, RemoveOptions{Force: tt.force})
			}()
			<-waiting
			err = d.start(t.Context(), e, nil)
			e.Release()
			if err != nil {
				t.Fatal(err)
			}
			if err := <-result; !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if _, err := d.containers.Find(id); errors.Is(err, fault.NotFound) != tt.force {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
