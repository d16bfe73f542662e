package privs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

func TestParseCaps(t *testing.T) {
	said := ""
	c := parseCaps(&specs.LinuxCapabilities{
		Bounding: []string{"CAP_CHOWN", "CAP_NET_RAW", "CAP_ROOT", "net_admin", "CHOWN"}, Ambient: []string{"CAP_CHECKPOINT_RESTORE"},
		Effective: []string{"CAP_", "CAP_ROOT"},
	}, func(s string) { said = s })
	if c.effective != 0 || c.bounding != 1<<unix.CAP_CHOWN|1<<unix.CAP_NET_RAW || c.ambient != 1<<unix.CAP_CHECKPOINT_RESTORE {
		t.Errorf("got %+v", c)
	}
	if got := c.bounding.names(); got != "CAP_CHOWN, CAP_NET_RAW" {
		t.Errorf("names %q", got)
	}
	if want := `ignoring unknown or unavailable capabilities: ["CAP_ROOT" "net_admin" "CHOWN" "CAP_"]`; !strings.HasPrefix(said, want) {
		t.Errorf("unknown names: %q", said)
	}
}

func TestLimitCaps(t *testing.T) {
	none := func(string) {}
	c := &caps{effective: 1 << unix.CAP_KILL}
	if err := c.limit(true, none); !errors.Is(err, fault.Invalid) {
		t.Errorf("effective but not permitted: %v", err)
	}
	// What `runc spec` writes.
	c = &caps{permitted: 1 << unix.CAP_KILL, ambient: 1 << unix.CAP_KILL}
	if err := c.limit(true, none); err != nil || c.ambient != 0 {
		t.Errorf("ambient but not inheritable: %b, %v", c.ambient, err)
	}
	said := ""
	c = &caps{bounding: 1 << 63}
	if err := c.limit(false, func(s string) { said = s }); err != nil || c.bounding != 0 || !strings.Contains(said, "capability 63") {
		t.Errorf("a capability that no kernel has: %b, %q, %v", c.bounding, said, err)
	}
}

func TestRlimitErrors(t *testing.T) {
	for name, l := range map[string][]specs.POSIXRlimit{
		"unknown":         {{Type: "RLIMIT_X"}},
		"twice":           {{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_CORE"}},
		"soft above hard": {{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}},
	} {
		if err := Rlimits(launch.NewBuilder(), l, func(string) {}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttributeErrors(t *testing.T) {
	b := launch.NewBuilder()
	for name, err := range map[string]error{
		"OOM score":       OOMScore(b, launch.Int(0), 1001, nil),
		"personality":     Personality(b, &specs.LinuxPersonality{Domain: "SUNOS"}),
		"I/O class":       IOPriority(b, &specs.LinuxIOPriority{Class: "FAST"}),
		"I/O priority":    IOPriority(b, &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8}),
		"policy":          Scheduler(b, &specs.Process{Scheduler: &specs.Scheduler{Policy: "SCHED_X"}}),
		"flag":            Scheduler(b, &specs.Process{Scheduler: &specs.Scheduler{Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{"X"}}}),
		"id map":          second(NewUserNS(nil, nil)),
		"too many ranges": second(NewUserNS(make([]specs.LinuxIDMapping, maxMappings+1), nil)),
	} {
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(f *os.File, err error) error {
	if f != nil {
		f.Close()
	}
	return err
}

func TestUserNS(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("id maps need root")
	}
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}, {ContainerID: 5000, HostID: 200000, Size: 1}}
	ns, err := NewUserNS(maps, maps)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	// The namespace outlives its maker: a process can join it and finds the maps.
	b := launch.NewBuilder()
	uid := b.Slot()
	wrong := b.Label()
	b.Setns(launch.Int(int(ns.Fd())), unix.CLONE_NEWUSER)
	b.Call(unix.SYS_SETRESUID, launch.Int(5000), launch.Int(5000), launch.Int(5000))
	b.Call(unix.SYS_GETUID).Into(uid)
	b.IfNot(uid, 5000, wrong)
	b.Exit(0)
	b.Mark(wrong)
	b.Fail(unix.EINVAL)
	p, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Start(launch.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer c.PidFD.Close()
	if m, err := c.Next(); fmt.Sprint(err) != "EOF" {
		t.Errorf("message %v, error %v", m, err)
	}
	if status, ok := c.Wait(); !ok || status.ExitStatus() != 0 {
		t.Errorf("status %d", status.ExitStatus())
	}
	overlap := append(maps, maps[0])
	if _, err := NewUserNS(overlap, maps); !errors.Is(err, fault.Invalid) {
		t.Errorf("overlapping ranges: %v", err)
	}
}
