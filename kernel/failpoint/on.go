//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Enabled tells whether this build has failpoints.
const Enabled = true

// wanted is the step to die at and the passes left until then.
var wanted = sync.OnceValue(func() *struct {
	sync.Mutex
	name string
	left int
} {
	w := new(struct {
		sync.Mutex
		name string
		left int
	})
	name, count, _ := strings.Cut(os.Getenv(Env), ":")
	w.name, w.left = name, 1
	if n, err := strconv.Atoi(count); err == nil {
		w.left = n
	}
	return w
})

// Hit kills the process if this is the step it was told to die at.
func Hit(name string) {
	w := wanted()
	note(name)
	if w.name != name {
		return
	}
	w.Lock()
	defer w.Unlock()
	if w.left--; w.left > 0 {
		return
	}
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {} // never past the step
}

// note writes the name into the file of SeenEnv.
func note(name string) {
	path := os.Getenv(SeenEnv)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		panic(err) // of a test alone
	}
	defer f.Close()
	if _, err := f.WriteString(name + "\n"); err != nil {
		panic(err)
	}
}
