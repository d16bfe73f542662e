package cli

import (
	"io"
	goruntime "runtime"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// explain prints the launch program of a bundle: what a container is, in the order in
// which it is made.
func (c *call) explain(bundle string) error {
	dir, spec, _, err := config.Load(bundle, false)
	if err != nil {
		return err
	}
	spec.Process.Terminal = false // there may be none here, and its steps are two of a hundred
	e, err := runtime.Explain(&runtime.LaunchSpec{ID: "explain", Spec: spec, Bundle: dir, Warn: c.log.warn})
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("The container's first process is a clone of this program")
	if len(e.Namespaces) > 0 {
		b.WriteString(" in new namespaces (" + strings.Join(e.Namespaces, ", ") + ")")
	}
	b.WriteString(". It makes these steps, and each is a system call or a few:\n\n")
	for i, a := range e.Actions {
		number := strconv.Itoa(i + 1)
		b.WriteString(strings.Repeat(" ", max(0, 4-len(number))) + number + "  " + oneLine(a.What) + "\n        " + names(a.Calls) + "\n")
	}
	_, err = io.WriteString(c.Stdout, b.String())
	return err
}

// names lists system calls; one that repeats stands there once with its count.
func names(calls []int) string {
	var list []string
	for i := 0; i < len(calls); {
		n := 1
		for i+n < len(calls) && calls[i+n] == calls[i] {
			n++
		}
		name := seccomp.Name(goruntime.GOARCH, calls[i])
		if n > 1 {
			name += " ×" + strconv.Itoa(n)
		}
		list = append(list, name)
		i += n
	}
	return strings.Join(list, ", ")
}
