package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/mountapi"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want options
	}{
		{[]string{"ro", "nosuid"}, options{ms: unix.MS_RDONLY | unix.MS_NOSUID,
			top: attrs{set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}}},
		{[]string{"ro", "rw"}, options{top: attrs{clear: unix.MOUNT_ATTR_RDONLY}}},
		{[]string{"rw", "ro"}, options{ms: unix.MS_RDONLY, top: attrs{set: unix.MOUNT_ATTR_RDONLY}}},
		{[]string{"rro"}, options{all: attrs{set: unix.MOUNT_ATTR_RDONLY}}},
		{[]string{"rrw"}, options{all: attrs{clear: unix.MOUNT_ATTR_RDONLY}}},
		{[]string{"noatime"}, options{ms: unix.MS_NOATIME,
			top: attrs{set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME}}},
		{[]string{"noatime", "strictatime"}, options{ms: unix.MS_NOATIME | unix.MS_STRICTATIME,
			top: attrs{set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME}}},
		{[]string{"relatime"}, options{ms: unix.MS_RELATIME, top: attrs{clear: unix.MOUNT_ATTR__ATIME}}},
		{[]string{"rrelatime"}, options{all: attrs{clear: unix.MOUNT_ATTR__ATIME}}},
		{[]string{"sync"}, options{ms: unix.MS_SYNCHRONOUS, onlyFS: []string{"sync"}}},
		{[]string{"defaults"}, options{}},
		{[]string{"rbind", "rslave"}, options{bind: true, deepBind: true, propagation: unix.MS_SLAVE, deepProp: true}},
		{[]string{"bind", "shared"}, options{bind: true, propagation: unix.MS_SHARED}},
		{[]string{"ridmap"}, options{idmap: true, deepIDMap: true}},
		{[]string{"size=1k", "mode=755"}, options{data: []string{"size=1k", "mode=755"}}},
		{[]string{"remount", "tmpcopyup"}, options{remount: true, copyUp: true}},
		{[]string{"rsync", "rdefaults"}, options{data: []string{"rsync", "rdefaults"}}},
	} {
		if got := parseOptions(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: got %+v; want %+v", c.in, got, c.want)
		}
	}
}

func TestCheckProc(t *testing.T) {
	p := &Plan{}
	for where, fine := range map[string]bool{
		"/proc/self": false, "/proc/self/attr": false, "/proc/uptime": true, "/proc/sys/kernel/ns_last_pid": true,
		"/process": true, "/data/proc/x": true, "/proc": false,
	} {
		err := p.checkProc(&mount{where: where, fstype: "tmpfs"})
		if (err == nil) != fine {
			t.Errorf("%s: %v", where, err)
		}
	}
	if err := p.checkProc(&mount{where: "/proc", fstype: "proc"}); err != nil {
		t.Errorf("proc at /proc: %v", err)
	}
}

func TestParseDevice(t *testing.T) {
	d, err := parseDevice(specs.LinuxDevice{Path: "dev/../dev/x", Type: "b", Major: 8, Minor: 17})
	if err != nil || d.where != "/dev/x" || d.mode != unix.S_IFBLK|0o666 || d.dev != unix.Mkdev(8, 17) {
		t.Errorf("got %+v, %v", d, err)
	}
	for _, bad := range []specs.LinuxDevice{
		{Path: "/dev/x", Type: ""}, {Path: "/dev/x", Type: "c", Minor: -1}, {Path: "/dev/x", Type: "c", Major: 1 << 12},
		{Path: "/dev/x", Type: "c", Minor: 1 << 20}, {Path: "", Type: "c"},
	} {
		if _, err := parseDevice(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// The overlay of old kernels and that of new ones must be the same.
func TestOverlayWays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := t.TempDir()
	o := mountapi.Overlay{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	for _, d := range []string{o.Upper, o.Work} {
		must(t, os.Mkdir(d, 0o755))
	}
	const layers = 128
	for i := range layers {
		d := filepath.Join(dir, fmt.Sprintf("layer-%0120d", i))
		must(t, os.MkdirAll(d, 0o755))
		must(t, os.WriteFile(filepath.Join(d, "top"), fmt.Append(nil, i), 0o644))
		must(t, os.WriteFile(filepath.Join(d, fmt.Sprint(i)), nil, 0o644))
		o.Lower = append(o.Lower, d)
	}
	for name, open := range map[string]func(mountapi.Overlay) (*os.File, error){"fsconfig": OpenOverlay, "mount": legacyOverlay} {
		t.Run(name, func(t *testing.T) {
			root, err := open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			at := func(name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", root.Fd(), name) }
			data, err := os.ReadFile(at("top"))
			if err != nil || string(data) != "0" {
				t.Errorf("top is %q, %v", data, err)
			}
			if _, err := os.Stat(at(fmt.Sprint(layers - 1))); err != nil {
				t.Errorf("the lowest layer: %v", err)
			}
			must(t, os.WriteFile(at(name), nil, 0o644))
			if _, err := os.Stat(filepath.Join(o.Upper, name)); err != nil {
				t.Errorf("a new file is not in the upper layer: %v", err)
			}
		})
	}
	o.Lower[3] = filepath.Join(dir, "nowhere")
	for name, open := range map[string]func(mountapi.Overlay) (*os.File, error){"fsconfig": OpenOverlay, "mount": legacyOverlay} {
		if _, err := open(o); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: a missing layer: %v", name, err)
		}
	}
}

// Nothing in the base can be changed, whoever holds its descriptor.
func TestBase(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	base, _, err := newBase()
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if err := unix.Mkdirat(int(base.Fd()), "x", 0o755); !errors.Is(err, unix.EROFS) {
		t.Errorf("mkdir in the base: %v", err)
	}
	var st unix.Stat_t
	must(t, unix.Fstatat(int(base.Fd()), baseNull, &st, 0))
	if st.Mode != unix.S_IFCHR|0o666 || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("null is %o %d:%d", st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
