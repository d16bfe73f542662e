package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/shim/wire"
)

// makeNodes makes device nodes in a running container. What stands at a path already
// is left alone if it is that device, and refused else.
func (c *Control) makeNodes(ctx context.Context, e *index.Entry, nodes []specs.LinuxDevice) error {
	if len(nodes) == 0 {
		return nil
	}
	switch {
	case remote(e) != nil:
		return fault.New(fault.NotImplemented, "devices cannot be added to a running container of the runtime %s; stop it first", e.Record().HostConfig.Runtime)
	case e.Record().State.Remap != nil:
		// A node made in a file system of a user namespace cannot be opened.
		return fault.New(fault.NotImplemented, "devices cannot be added to a running container in a user namespace of its own; stop it first")
	}
	dir, err := e.Run().Shim.Namespace(ctx, wire.KindRoot)
	if err != nil {
		return err
	}
	defer dir.Close()
	root := inroot.From(dir)
	for i := range nodes {
		if err := makeNode(root, &nodes[i]); err != nil {
			return fmt.Errorf("make device %s in the container: %w", nodes[i].Path, err)
		}
	}
	return nil
}

func makeNode(root *inroot.Root, d *specs.LinuxDevice) error {
	kind := uint32(unix.S_IFCHR)
	if d.Type == "b" {
		kind = unix.S_IFBLK
	}
	number := unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	dir, err := root.MkdirAll(filepath.Dir(d.Path), 0o755)
	if err != nil {
		return err
	}
	dir.Close()
	err = root.Mknod(d.Path, kind|0o600, number)
	if errors.Is(err, fs.ErrExist) {
		st, err := root.Lstat(d.Path)
		if err == nil && (st.Mode&unix.S_IFMT != kind || st.Rdev != number) {
			err = fault.New(fault.Conflict, "something else stands there")
		}
		return err
	}
	if err != nil {
		return err
	}
	if d.UID != nil && d.GID != nil {
		if err := root.Lchown(d.Path, int(*d.UID), int(*d.GID)); err != nil {
			return err
		}
	}
	if d.FileMode != nil {
		return root.Chmod(d.Path, uint32(d.FileMode.Perm()))
	}
	return nil
}
