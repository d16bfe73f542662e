package layer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// maxXattr bounds one attribute's value: the kernel's own limit.
const maxXattr = 64 * kib

// Chain returns the directories of a chain of layers, given bottom first, in
// the order of overlay's lowerdir: top first. Where a layer implies a directory
// that a layer below it lists, a small further directory comes on top, which
// shows that directory's owner, mode, times and xattrs again. It is made once a
// chain. A missing layer is fault.NotFound.
func (s *Store) Chain(ids []digest.Digest) ([]string, error) {
	if len(ids) == 0 {
		return nil, fault.New(fault.Invalid, "an image without layers has no root file system")
	}
	infos := make([]*Info, len(ids))
	for i, id := range ids {
		info, err := s.Stat(id)
		if err != nil {
			return nil, err
		}
		infos[i] = info
	}
	bottom := 0
	for i, info := range infos {
		if info.OpaqueRoot {
			bottom = i
		}
	}
	mend, err := s.mend(ids, infos, bottom)
	if err != nil {
		return nil, fmt.Errorf("mend the parents that layer %s implies: %w", ids[len(ids)-1], err)
	}
	var dirs []string
	if mend != "" {
		dirs = append(dirs, mend)
	}
	for i := len(ids) - 1; i >= bottom; i-- {
		dirs = append(dirs, filepath.Join(s.path(ids[i]), rootDir))
	}
	return dirs, nil
}

// Unchain takes the mending directory of a chain away, if it has one.
func (s *Store) Unchain(ids []digest.Digest) error {
	if len(ids) == 0 {
		return nil
	}
	return s.trash.Take(filepath.Join(s.mended, identity.ChainID(ids).Encoded()))
}

// Chains calls f with the chain ID of every mending directory.
func (s *Store) Chains(f func(chain digest.Digest) error) error {
	entries, err := os.ReadDir(s.mended)
	if err != nil {
		return fmt.Errorf("list mended chains: %w", err)
	}
	for _, e := range entries {
		if id := digest.NewDigestFromEncoded(digest.SHA256, e.Name()); id.Validate() == nil {
			if err := f(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoveChain is Unchain by chain ID.
func (s *Store) RemoveChain(chain digest.Digest) error {
	if err := chain.Validate(); err != nil {
		return fault.New(fault.Invalid, "%q is not a chain ID", string(chain))
	}
	return s.trash.Take(filepath.Join(s.mended, chain.Encoded()))
}

// mend returns the chain's mending directory, or "" if it needs none.
func (s *Store) mend(ids []digest.Digest, infos []*Info, bottom int) (string, error) {
	needed := false
	for i := bottom + 1; i < len(infos); i++ {
		needed = needed || len(infos[i].Implied) > 0
	}
	if !needed {
		return "", nil
	}
	final := filepath.Join(s.mended, identity.ChainID(ids).Encoded())
	var m mending
	data, err := os.ReadFile(filepath.Join(final, infoFile))
	if err == nil {
		err = json.Unmarshal(data, &m)
	} else if errors.Is(err, os.ErrNotExist) {
		m, err = s.makeMending(final, ids, infos, bottom)
	}
	if err != nil || m.Directories == 0 {
		return "", err
	}
	return filepath.Join(final, rootDir), nil
}

// mending is the record beside a mending directory.
type mending struct {
	Directories int `json:"directories"`
}

func (s *Store) makeMending(final string, ids []digest.Digest, infos []*Info, bottom int) (mending, error) {
	tmp, err := os.MkdirTemp(s.tmp, "mend-")
	if err != nil {
		return mending{}, err
	}
	defer s.trash.Take(tmp)
	c := chain{infos: infos[bottom:]}
	defer c.close()
	for _, id := range ids[bottom:] {
		root, err := inroot.Open(filepath.Join(s.path(id), rootDir))
		if err != nil {
			return mending{}, err
		}
		c.roots = append(c.roots, root)
	}
	m, err := c.build(filepath.Join(tmp, rootDir))
	if err != nil {
		return mending{}, err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return mending{}, err
	}
	if err := os.WriteFile(filepath.Join(tmp, infoFile), data, 0o600); err != nil {
		return mending{}, err
	}
	if err := syncFS(s.mended); err != nil {
		return mending{}, err
	}
	if err := os.Rename(tmp, final); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return mending{}, err
	}
	return m, durable.SyncDir(s.mended)
}

// chain is the layers of one image, bottom first.
type chain struct {
	infos []*Info
	roots []*inroot.Root
}

func (c *chain) close() {
	for _, r := range c.roots {
		r.Close()
	}
}

// build makes the mending directory: each implied directory whose attributes a
// lower layer knows, with the parents it needs, which show their own.
func (c *chain) build(dir string) (mending, error) {
	var m mending
	if err := os.Mkdir(dir, impliedMode); err != nil {
		return m, err
	}
	out, err := inroot.Open(dir)
	if err != nil {
		return m, err
	}
	defer out.Close()
	done := map[string]int{} // path → layer that knows its attributes
	for top := len(c.infos) - 1; top > 0; top-- {
		for _, p := range c.infos[top].Implied {
			from, err := c.knower(p)
			if err != nil {
				return m, err
			}
			// The topmost layer that has the directory already shows it right,
			// or nobody below knows it.
			if from < 0 {
				continue
			}
			if err := c.place(out, p, from, done); err != nil {
				return m, err
			}
		}
	}
	m.Directories = len(done)
	// Last, because making an entry changed its parent's.
	for p, from := range done {
		if err := copyTimes(c.roots[from], out, p); err != nil {
			return m, err
		}
	}
	return m, nil
}

// knower returns the layer whose attributes the merged directory p must show,
// or -1 when overlay already shows them or no layer lists p.
func (c *chain) knower(p string) (int, error) {
	passed := false // a layer above implies p and hides the one that knows it
	for i := len(c.roots) - 1; i >= 0; i-- {
		state, hides, err := c.look(i, p)
		if err != nil {
			return -1, err
		}
		switch state {
		case listed:
			if !passed {
				return -1, nil
			}
			return i, nil
		case implied:
			passed = true
		case replaced:
			return -1, nil
		}
		if hides {
			return -1, nil
		}
	}
	return -1, nil
}

type presence int

const (
	absent   presence = iota
	listed            // a directory with the attributes of its entry
	implied           // a directory that the layer's tar did not list
	replaced          // a file, link or whiteout is at the path or above it
)

// look tells what layer i has at p, and whether it hides what lower layers have
// there because a directory above p is opaque.
func (c *chain) look(i int, p string) (state presence, hides bool, err error) {
	root := c.roots[i]
	if p != "." {
		at := ""
		for name := range strings.SplitSeq(path.Dir(p), "/") {
			at = path.Join(at, name)
			if at == "." {
				break
			}
			st, err := root.Lstat(at)
			if errors.Is(err, unix.ENOENT) {
				return absent, hides, nil
			}
			if err != nil {
				return absent, false, err
			}
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				return replaced, true, nil
			}
			value, err := root.GetXattr(at, opaqueXattr)
			if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
				return absent, false, err
			}
			hides = hides || bytes.Equal(value, []byte("y"))
		}
	}
	st, err := root.Lstat(p)
	switch {
	case errors.Is(err, unix.ENOENT):
		return absent, hides, nil
	case err != nil:
		return absent, false, err
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return replaced, true, nil
	}
	if c.implies(i, p) {
		return implied, hides, nil
	}
	return listed, hides, nil
}

func (c *chain) implies(i int, p string) bool {
	_, found := slices.BinarySearchFunc(c.infos[i].Implied, p, shorterFirst)
	return found
}

// shorterFirst is the order of Info.Implied: a parent comes before its children.
func shorterFirst(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// place makes p in the mending directory with the attributes that layer from
// has, and the directories above it with theirs.
func (c *chain) place(out *inroot.Root, p string, from int, done map[string]int) error {
	if _, ok := done[p]; ok {
		return nil
	}
	if p != "." {
		up := path.Dir(p)
		if _, ok := done[up]; !ok {
			shown, err := c.shown(up)
			if err != nil {
				return err
			}
			if err := c.place(out, up, shown, done); err != nil {
				return err
			}
		}
		if err := out.Mkdir(p, 0o700); err != nil {
			return err
		}
	}
	done[p] = from
	return copyAttributes(c.roots[from], out, p)
}

// shown returns the layer whose attributes the merged directory p has or must
// have: the one that knows it, else the topmost one that has it.
func (c *chain) shown(p string) (int, error) {
	top := -1
	for i := len(c.roots) - 1; i >= 0; i-- {
		state, hides, err := c.look(i, p)
		if err != nil {
			return 0, err
		}
		if state == listed {
			return i, nil
		}
		if state == implied && top < 0 {
			top = i
		}
		if hides || state == replaced {
			break
		}
	}
	if top < 0 {
		return 0, fmt.Errorf("no layer has the directory %q", p)
	}
	return top, nil
}

func copyAttributes(from, to *inroot.Root, p string) error {
	st, err := from.Lstat(p)
	if err != nil {
		return err
	}
	if err := to.Lchown(p, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := to.Chmod(p, st.Mode&modeBits); err != nil {
		return err
	}
	names, err := from.ListXattrs(p)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		value, err := from.GetXattr(p, name)
		if err != nil {
			return err
		}
		if len(value) > maxXattr {
			continue
		}
		if err := to.SetXattr(p, name, value); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return nil
}

func copyTimes(from, to *inroot.Root, p string) error {
	st, err := from.Lstat(p)
	if err != nil {
		return err
	}
	f, err := to.Open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return futimens(int(f.Fd()), st.Atim, st.Mtim)
}
