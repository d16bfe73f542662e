package volume

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	maxDepth = 1000
	maxDir   = 1 << 20
)

// Size is the sum of the sizes of a volume's regular files, hard links counted
// once; -1 for one that is a mount: its files belong to somebody else.
func (l *Local) Size(ctx context.Context, name string) (int64, error) {
	v, err := l.Get(name)
	if err != nil {
		return 0, err
	}
	if v.Mounts() {
		return -1, nil
	}
	root, err := inroot.Open(l.Path(name))
	if err != nil {
		return 0, err
	}
	defer root.Close()
	m := measure{ctx: ctx, root: root, seen: map[uint64]bool{}}
	m.directory(".", 0)
	return m.sum, ctx.Err()
}

type measure struct {
	ctx  context.Context
	root *inroot.Root
	seen map[uint64]bool
	sum  int64
}

// directory adds up what it can read: containers change volumes all the time.
func (m *measure) directory(dir string, depth int) {
	if depth > maxDepth || m.ctx.Err() != nil {
		return
	}
	entries, err := m.root.ReadDir(dir, maxDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := dir + "/" + e.Name
		st, err := m.root.Lstat(name)
		if err != nil {
			continue
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			m.directory(name, depth+1)
		case unix.S_IFREG:
			if st.Nlink > 1 && m.seen[st.Ino] {
				continue
			}
			if st.Nlink > 1 {
				m.seen[st.Ino] = true
			}
			m.sum += st.Size
		}
	}
}
