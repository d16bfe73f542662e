package mountapi

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/fsid"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

const shift = 300000

// shiftedNS is a user namespace whose root is shift outside.
func shiftedNS(t *testing.T) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: shift, Size: 65536}}
	cmd := exec.Command("sleep", "100")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: maps, GidMappings: maps, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func TestMappedOverlay(t *testing.T) {
	ns := shiftedNS(t)
	ways := map[string]func(*mapped) (*os.File, error){
		"detached": func(m *mapped) (f *os.File, err error) {
			err = errors.Join(err, fsid.As(shift, shift, func() (err error) { f, err = m.detached(); return err }))
			return f, err
		},
		"attached": (*mapped).attached,
		"chosen":   nil,
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var lower []string
			for i := range 3 {
				l := filepath.Join(dir, fmt.Sprint("lower", i))
				lower = append(lower, l)
				must(t, os.MkdirAll(filepath.Join(l, "d"), 0o755))
				must(t, os.WriteFile(filepath.Join(l, fmt.Sprint("f", i)), []byte("x"), 0o644))
				must(t, os.Chown(filepath.Join(l, fmt.Sprint("f", i)), i, 2*i))
			}
			o := Overlay{Lower: lower, Upper: filepath.Join(dir, "c", "upper"), Work: filepath.Join(dir, "c", "work"), IDMap: &IDMap{ns, shift, shift}}
			must(t, os.MkdirAll(o.Upper, 0o755))
			must(t, os.MkdirAll(o.Work, 0o755))
			var f *os.File
			var err error
			if way == nil {
				f, err = o.Mount()
			} else {
				m := &mapped{Overlay: o}
				for _, l := range lower {
					c, err := o.IDMap.clone(l)
					if errors.Is(err, ErrNoIDMap) {
						t.Skip(err)
					}
					must(t, err)
					m.lower = append(m.lower, c)
				}
				m.top, err = o.IDMap.clone(filepath.Dir(o.Upper))
				must(t, err)
				f, err = way(m)
				m.close()
				if name == "detached" && errors.Is(err, unix.EINVAL) {
					t.Skip("this kernel takes no layers that are not attached")
				}
			}
			must(t, err)
			defer f.Close()
			root := inroot.From(f)
			for i := range 3 {
				st, err := root.Stat(fmt.Sprint("f", i))
				must(t, err)
				if int(st.Uid) != shift+i || int(st.Gid) != shift+2*i {
					t.Errorf("f%d belongs to %d:%d", i, st.Uid, st.Gid)
				}
			}
			must(t, fsid.As(shift, shift, func() error {
				if _, err := root.MkdirAll("d/new", 0o755); err != nil {
					return err
				}
				return root.Lchown("f2", shift+7, shift+8) // a copy up
			}))
			for path, want := range map[string][2]uint32{"d/new": {0, 0}, "f2": {7, 8}} {
				st, err := os.Stat(filepath.Join(o.Upper, path))
				must(t, err)
				if s := st.Sys().(*syscall.Stat_t); s.Uid != want[0] || s.Gid != want[1] {
					t.Errorf("%s is kept as %d:%d, want %v", path, s.Uid, s.Gid, want)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
