package rdt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// mount is a directory that looks like a resctrl file system, where the kernel would
// fill new groups.
func mount(t *testing.T, groups ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, g := range append(groups, ".") {
		must(t, os.MkdirAll(filepath.Join(dir, g, "mon_groups"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, g, "schemata"), []byte("    L3:0=ff;1=ff\n    MB:0=100;1=100\n"), 0o644))
		must(t, os.WriteFile(filepath.Join(dir, g, "tasks"), nil, 0o644))
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config specs.LinuxIntelRdt
		tasks  string // of the group that is joined
		remove int
		err    string
	}{
		{"default group", specs.LinuxIntelRdt{ClosID: "/"}, "tasks", 0, ""},
		{"group that is there", specs.LinuxIntelRdt{ClosID: "gold"}, "gold/tasks", 0, ""},
		{"same schemata", specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:1=ff;0=ff", MemBwSchema: "MB:0=100"}, "gold/tasks", 0, ""},
		{"other schemata", specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=f"}, "", 0, "has other schemata"},
		{"missing group", specs.LinuxIntelRdt{ClosID: "iron"}, "", 0, "there is no group of that name"},
		{"monitoring", specs.LinuxIntelRdt{ClosID: "gold", EnableMonitoring: true}, "gold/tasks", 1, ""},
		{"own group", specs.LinuxIntelRdt{}, "box/tasks", 1, ""},
		{"way out", specs.LinuxIntelRdt{ClosID: ".."}, "", 0, "no name of a group"},
		{"two lines", specs.LinuxIntelRdt{Schemata: []string{"L3:0=f\nMB:0=1"}}, "", 0, "must be one line"},
		{"wrong kind", specs.LinuxIntelRdt{MemBwSchema: "L3:0=f"}, "", 0, "does not begin with MB:"},
		{"refused schema", specs.LinuxIntelRdt{L3CacheSchema: "L3:9=f"}, "", 0, "the kernel refuses the schema"}, // a new directory has no file here
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := mount(t, "gold")
			g, err := Open(root, "box", &tt.config)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v", err)
				}
				for _, left := range []string{"box", "iron"} {
					if _, err := os.Stat(filepath.Join(root, left)); err == nil {
						t.Errorf("%s is left", left)
					}
				}
				return
			}
			must(t, err)
			if g.tasks[0] != filepath.Join(root, tt.tasks) || len(g.Remove) != tt.remove {
				t.Errorf("tasks %q, to be removed %q", g.tasks, g.Remove)
			}
			must(t, g.Delete())
			if _, err := os.Stat(filepath.Join(root, "gold")); err != nil {
				t.Error("a group of others was removed")
			}
		})
	}
}

func TestMountIsMissing(t *testing.T) {
	if _, err := Mount(); err != nil && !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

func TestUpdate(t *testing.T) {
	root := mount(t, "gold", "box")
	must(t, Update(root, "box", &specs.LinuxIntelRdt{}, "L3:0=f", ""))
	must(t, Update(root, "box", &specs.LinuxIntelRdt{ClosID: "gold"}, "", "MB:0=20"))
	for group, want := range map[string]string{"box": "L3:0=f\n", "gold": "MB:0=20\n"} {
		data, err := os.ReadFile(filepath.Join(root, group, "schemata"))
		must(t, err)
		if !strings.HasSuffix(string(data), want) {
			t.Errorf("%s has %q", group, data)
		}
	}
	for _, bad := range [][2]string{{"", "L3:0=f"}, {"L3:0=f\nx", ""}} {
		if err := Update(root, "box", &specs.LinuxIntelRdt{}, bad[0], bad[1]); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := Update(root, "gone", &specs.LinuxIntelRdt{}, "L3:0=f", ""); err == nil {
		t.Error("a group that is not there was changed")
	}
}
