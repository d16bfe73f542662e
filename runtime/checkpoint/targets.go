package checkpoint

import (
	"os"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// makeTargets makes the mount points that a root file system lacks: after a restore into
// another one, criu would miss them. Those in a file system that criu fills again itself
// are there then.
func (r *Restoration) makeTargets() error {
	mounts := r.Spec.Mounts
	for i := range mounts {
		where := path.Clean("/" + mounts[i].Destination)
		tree, below := r.Root, where
		if j := around(mounts[:i], where); j >= 0 {
			if !isBind(&mounts[j]) {
				continue
			}
			tree, below = r.source(&mounts[j]), strings.TrimPrefix(where, path.Clean("/"+mounts[j].Destination))
		}
		if err := r.makeTarget(&mounts[i], tree, below); err != nil {
			return fault.New(fault.Invalid, "make the mount point %s: %w", where, err)
		}
	}
	return nil
}

// around returns the innermost of the mounts that a path lies in, or -1.
func around(mounts []specs.Mount, where string) int {
	for i := len(mounts) - 1; i >= 0; i-- {
		dir := path.Clean("/" + mounts[i].Destination)
		if dir != "/" && strings.HasPrefix(where, dir+"/") {
			return i
		}
	}
	return -1
}

// makeTarget makes one: a file where a file is mounted. The tree belongs to the
// container, so no link leads out of it.
func (r *Restoration) makeTarget(m *specs.Mount, tree, below string) error {
	root, err := inroot.Open(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	if f, err := root.Open(below, unix.O_PATH, 0); err == nil {
		return f.Close()
	}
	if isBind(m) {
		st, err := os.Stat(r.source(m))
		if err != nil {
			return err
		}
		if !st.IsDir() {
			f, err := root.MkfileAll(below, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
	}
	f, err := root.MkdirAll(below, 0o755)
	if err != nil {
		return err
	}
	return f.Close()
}
