package runtime

import (
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/launch"
)

// Explanation is what Launch would do.
type Explanation struct {
	Namespaces []string // made by the first clone; all others are made or joined on the way
	Actions    []launch.Action
}

// Explain compiles the launch program of a container and does not run it. Everything on
// the host that it names must be there, and a control group is made and removed.
func Explain(s *LaunchSpec) (_ *Explanation, retErr error) {
	l, err := newLauncher(s)
	if err != nil {
		return nil, err
	}
	defer l.close()
	defer l.undo()
	for _, step := range []func() error{
		l.openGroup, l.openUserNS, l.openRoot, l.compileFilter, l.openHooks, l.openTrampoline, l.compile,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	program, err := l.b.Finish()
	if err != nil {
		return nil, err
	}
	e := &Explanation{Actions: program.Explain()}
	for _, k := range nsKinds {
		if k.flag&l.cloneFlags() != 0 {
			e.Namespaces = append(e.Namespaces, string(k.kind))
		}
	}
	return e, nil
}

// cloneFlags are the namespaces that the first clone makes.
func (l *launcher) cloneFlags() uintptr {
	if l.user != nil {
		return 0
	}
	flags := l.ns.create & (unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if !l.early {
		flags |= l.ns.create & unix.CLONE_NEWPID
	}
	return flags
}
