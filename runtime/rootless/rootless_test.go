package rootless

import (
	"errors"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

func mapping(container, host, size uint32) specs.LinuxIDMapping {
	return specs.LinuxIDMapping{ContainerID: container, HostID: host, Size: size}
}

func TestRanges(t *testing.T) {
	const file = "other:1:5\nbox:100000:65536\n# comment\nbox:x:1\nbox:7:0\n 1000:300000:10\nbox:1:2:3\n"
	got := parseRanges(file, "box", 1000)
	if len(got) != 2 || got[0] != (idRange{100000, 65536}) || got[1] != (idRange{300000, 10}) {
		t.Fatalf("got %v", got)
	}
	for _, c := range []struct {
		from, count uint64
		want        bool
	}{{100000, 65536, true}, {100001, 65536, false}, {165535, 1, true}, {99999, 2, false}, {300000, 10, true}, {300005, 6, false}} {
		if covered(got, c.from, c.count) != c.want {
			t.Errorf("%d of %d: not %v", c.count, c.from, c.want)
		}
	}
	if text := describe(got); text != "100000 to 165535, 300000 to 300009" {
		t.Errorf("described as %q", text)
	}
}

func TestInside(t *testing.T) {
	maps := []specs.LinuxIDMapping{mapping(0, 1000, 1), mapping(1, 100000, 10)}
	for id, want := range map[int]int64{1000: 0, 100000: 1, 100009: 10, 100010: -1, 0: -1} {
		if got := inside(maps, id); got != want {
			t.Errorf("%d is %d inside, want %d", id, got, want)
		}
	}
	if got := inside([]specs.LinuxIDMapping{mapping(5, 4294967295, 10)}, 3); got != -1 {
		t.Errorf("a range that ends behind the last id has 3 as %d", got)
	}
}

func TestUserNamespaceIsChecked(t *testing.T) {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	good := func() *specs.Spec {
		return &specs.Spec{Linux: &specs.Linux{
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.UserNamespace}},
			UIDMappings: []specs.LinuxIDMapping{mapping(0, uid, 1)}, GIDMappings: []specs.LinuxIDMapping{mapping(0, gid, 1)},
		}}
	}
	if _, err := userNamespace(good()); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*specs.Spec){
		"requires user namespaces":    func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:1] },
		"at least one UID mapping":    func(s *specs.Spec) { s.Linux.UIDMappings = nil },
		"at least one GID mapping":    func(s *specs.Spec) { s.Linux.GIDMappings = nil },
		"linux.uidMappings must make": func(s *specs.Spec) { s.Linux.UIDMappings[0].ContainerID = 5 },
		"linux.gidMappings must make": func(s *specs.Spec) { s.Linux.GIDMappings[0].HostID = gid + 1 },
		"linux.namespaces":            func(s *specs.Spec) { s.Linux = nil },
	} {
		s := good()
		change(s)
		if _, err := userNamespace(s); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	s := good()
	in := Entered(s)
	if len(in.Linux.Namespaces) != 1 || in.Linux.UIDMappings != nil || len(s.Linux.Namespaces) != 2 || s.Linux.UIDMappings == nil {
		t.Errorf("entered: %+v; the specification itself: %+v", in.Linux, s.Linux)
	}
}

// What the kernel says is turned into what can be done.
func TestForbidden(t *testing.T) {
	for errno, class := range map[unix.Errno]error{unix.EPERM: fault.Forbidden, unix.ENOSPC: fault.Exhausted, unix.EINVAL: fault.Unavailable} {
		if sysctl("/proc/sys/user/max_user_namespaces") == "0" {
			class = fault.Forbidden
		}
		if err := forbidden(errno); !errors.Is(err, class) || !strings.HasPrefix(err.Error(), "make a user namespace: ") {
			t.Errorf("%v: %v", errno, err)
		}
	}
	if err := forbidden(unix.ENOMEM); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("another error: %v", err)
	}
}

func TestUserName(t *testing.T) {
	if name := UserName(0); name != "root" {
		t.Errorf("0 is %q", name)
	}
	if name := UserName(4000000000); name != "#4000000000" {
		t.Errorf("nobody is %q", name)
	}
}

func TestMembers(t *testing.T) {
	pids, err := Members(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range pids {
		found = found || p == os.Getpid()
	}
	if !found {
		t.Errorf("we are not among %v", pids)
	}
	if _, err := Members(0); err == nil {
		t.Error("process 0 has members")
	}
}

func TestRuntimeDir(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/somewhere")
	if dir := RuntimeDir(); dir != "/somewhere" {
		t.Errorf("got %q", dir)
	}
}
