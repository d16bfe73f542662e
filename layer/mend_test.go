package layer

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// merged mounts the directories as overlay, read-only and detached, and returns
// a path to it.
func merged(t *testing.T, lowers []string) string {
	t.Helper()
	if len(lowers) == 1 {
		return lowers[0]
	}
	dir := t.TempDir()
	err := unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lowers, ":"))
	if err != nil {
		t.Skipf("this machine cannot mount overlay here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func owned(name string, mode int64, uid int) member {
	m := dir(name, mode)
	m.Uid = uid
	m.Format = tar.FormatPAX
	m.PAXRecords = map[string]string{"SCHILY.xattr.user.of": name}
	return m
}

func TestImpliedParentsAreMended(t *testing.T) {
	type shows struct {
		mode uint32
		uid  uint32
	}
	root := owned("./", 0o755, 0)
	for name, test := range map[string]struct {
		layers [][]member // bottom first
		want   map[string]shows
		mended bool
	}{
		"one layer": {
			[][]member{{file("tmp/f", "")}},
			map[string]shows{"tmp": {0o755, 0}}, false,
		},
		"tmp keeps its mode": {
			[][]member{{root, owned("tmp/", 0o1777, 0), owned("root/", 0o700, 0)}, {file("tmp/f", ""), file("root/.profile", "")}},
			map[string]shows{"tmp": {0o1777, 0}, "root": {0o700, 0}, ".": {0o755, 0}}, true,
		},
		"listed on top needs nothing": {
			[][]member{{root, owned("tmp/", 0o1777, 0)}, {root, owned("tmp/", 0o755, 7), file("tmp/f", "")}},
			map[string]shows{"tmp": {0o755, 7}}, false,
		},
		"the nearest lister wins": {
			[][]member{{root, owned("d/", 0o700, 1)}, {root, owned("d/", 0o710, 2)}, {root, file("d/f", "")}, {root, file("d/g", "")}},
			map[string]shows{"d": {0o710, 2}}, true,
		},
		"the parents of a mended directory": {
			[][]member{{root, owned("a/", 0o711, 5), owned("a/b/", 0o722, 6)}, {root, owned("a/", 0o755, 8), file("a/b/f", "")}},
			map[string]shows{"a": {0o755, 8}, "a/b": {0o722, 6}}, true,
		},
		"removed and made again": {
			[][]member{{root, owned("d/", 0o700, 1)}, {root, file(".wh.d", "")}, {root, file("d/f", "")}},
			map[string]shows{"d": {0o755, 0}}, false,
		},
		"hidden by an opaque parent": {
			[][]member{{root, owned("a/", 0o755, 0), owned("a/d/", 0o700, 1)}, {root, owned("a/", 0o755, 0), file("a/.wh..wh..opq", "")}, {root, owned("a/", 0o755, 0), file("a/d/f", "")}},
			map[string]shows{"a/d": {0o755, 0}}, false,
		},
		"opaque and implied keeps what it was": {
			[][]member{{root, owned("d/", 0o700, 1), file("d/old", "")}, {root, file("d/.wh..wh..opq", ""), file("d/new", "")}},
			map[string]shows{"d": {0o700, 1}}, true,
		},
		"a file in between": {
			[][]member{{root, owned("d/", 0o700, 1)}, {root, file("d", "")}, {root, file(".wh.d", "")}, {root, file("d/f", "")}},
			map[string]shows{"d": {0o755, 0}}, false,
		},
		"the root itself": {
			[][]member{{owned("./", 0o711, 9)}, {file("f", "")}},
			map[string]shows{".": {0o711, 9}}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			var ids []digest.Digest
			for _, members := range test.layers {
				info, _ := unpack(t, s, pack(t, members...))
				ids = append(ids, info.DiffID)
			}
			lowers, err := s.Chain(ids)
			if err != nil {
				t.Fatal(err)
			}
			if mended := len(lowers) > len(ids); mended != test.mended {
				t.Errorf("mended = %v, want %v: %q", mended, test.mended, lowers)
			}
			again, err := s.Chain(ids)
			if err != nil || strings.Join(again, ":") != strings.Join(lowers, ":") {
				t.Errorf("the second Chain differs: %q, %v", again, err)
			}
			if len(lowers) > 1 {
				// Overlay shows the owner of its topmost directory as its root's.
				checkRoot(t, lowers[0], test.want["."].mode, test.want["."].uid)
			}
			view := merged(t, lowers)
			for p, want := range test.want {
				st := lstat(t, filepath.Join(view, p))
				if st.Mode&0o7777 != want.mode || st.Uid != want.uid {
					t.Errorf("%s shows mode %o, owner %d, want %o, %d", p, st.Mode&0o7777, st.Uid, want.mode, want.uid)
				}
			}
			if name == "opaque and implied keeps what it was" {
				if _, err := os.Lstat(filepath.Join(view, "d", "old")); !os.IsNotExist(err) {
					t.Errorf("d/old is visible through the mending: %v", err)
				}
			}
			if err := s.Unchain(ids); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func checkRoot(t *testing.T, top string, mode, uid uint32) {
	t.Helper()
	if mode == 0 {
		return
	}
	if st := lstat(t, top); st.Mode&0o7777 != mode || st.Uid != uid {
		t.Errorf("the topmost directory has mode %o, owner %d, want %o, %d", st.Mode&0o7777, st.Uid, mode, uid)
	}
}

func TestMendedXattrs(t *testing.T) {
	s := openStore(t)
	bottom, _ := unpack(t, s, pack(t, owned("./", 0o755, 0), owned("d/", 0o700, 1)))
	top, _ := unpack(t, s, pack(t, owned("./", 0o755, 0), file("d/f", "")))
	lowers, err := s.Chain([]digest.Digest{bottom.DiffID, top.DiffID})
	if err != nil || len(lowers) != 3 {
		t.Fatalf("Chain = %q, %v", lowers, err)
	}
	value := make([]byte, 16)
	n, err := unix.Lgetxattr(lowers[0]+"/d", "user.of", value)
	if err != nil || string(value[:n]) != "d/" {
		t.Errorf("user.of = %q, %v", value[:max(0, n)], err)
	}
}

func TestChainStopsAtAnOpaqueRoot(t *testing.T) {
	s := openStore(t)
	bottom, _ := unpack(t, s, pack(t, dir("./", 0o755), file("old", "")))
	top, root := unpack(t, s, pack(t, dir("./", 0o755), file(".wh..wh..opq", ""), file("new", "")))
	lowers, err := s.Chain([]digest.Digest{bottom.DiffID, top.DiffID})
	if err != nil || len(lowers) != 1 || lowers[0] != root {
		t.Errorf("Chain = %q, %v, want only %s: overlay ignores the mark at a root", lowers, err, root)
	}
}

func TestChainOfAMissingLayer(t *testing.T) {
	s := openStore(t)
	if _, err := s.Chain([]digest.Digest{digest.FromString("x")}); !errors.Is(err, fault.NotFound) {
		t.Errorf("Chain = %v", err)
	}
	if _, err := s.Chain(nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("Chain of nothing = %v", err)
	}
	if _, err := s.Stat("sha256:../../etc"); !errors.Is(err, fault.Invalid) {
		t.Errorf("Stat of a bad digest = %v", err)
	}
}
