package userns

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestParse(t *testing.T) {
	file := func(text string) string {
		p := filepath.Join(t.TempDir(), "sub")
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	one := func(first uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 0, HostID: first, Size: 65536}}
	}
	for _, tt := range []struct {
		name, value, subuid, subgid string
		want                        *Remap
		err                         string
	}{
		{"default without a user", "default", "x:1:2\n", "", &Remap{one(firstID), one(firstID)}, ""},
		{"default with its user", "default", "dockremap:200000:65536\n", "dockremap:300000:65536\n", &Remap{one(200000), one(300000)}, ""},
		{"name", "no-such-user", "a:1:1\nno-such-user:100000:65536\n", "no-such-user:100000:65536", &Remap{one(100000), one(100000)}, ""},
		{"by id", "root", "0:100000:65536\n", "0:100000:65536\n", &Remap{one(100000), one(100000)}, ""},
		{"numeric value", "0:0", "root:100000:65536\n", "root:100000:65536\n", &Remap{one(100000), one(100000)}, ""},
		{"two ranges", "u", "u:100000:10\nu:5000:5", "u:100000:65536", &Remap{
			[]specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 10}, {ContainerID: 10, HostID: 5000, Size: 5}}, one(100000)}, ""},
		{"no line", "u", "", "u:100000:65536", nil, "no line for u"},
		{"no group line", "u", "u:100000:65536", "", nil, "no line for u"},
		{"root of the host", "u", "u:0:65536", "u:100000:65536", nil, "ids above 0"},
		{"too far", "u", "u:4294967000:65536", "u:100000:65536", nil, "ids above 0"},
		{"nonsense", "u", "u:x:y", "", nil, "ids above 0"},
		{"empty", "", "", "", nil, "want default"},
		{"empty group", "u:", "", "", nil, "want default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(tt.value, file(tt.subuid), file(tt.subgid))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("got %v, %v", got, err)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	r := &Remap{
		UIDs: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 10}, {ContainerID: 10, HostID: 5000, Size: 5}},
		GIDs: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 10}},
	}
	for _, tt := range [][4]int{{0, 0, 100000, 200000}, {9, 9, 100009, 200009}, {10, 1, 5000, 200001}, {14, 1, 5004, 200001}} {
		if uid, gid := r.Host(tt[0], tt[1]); uid != tt[2] || gid != tt[3] {
			t.Errorf("Host%v = %d %d", tt, uid, gid)
		}
		if uid, gid := r.Container(tt[2], tt[3]); uid != tt[0] || gid != tt[1] {
			t.Errorf("Container%v = %d %d", tt, uid, gid)
		}
	}
	if uid, gid := r.Container(0, 5000); uid != overflow || gid != overflow {
		t.Errorf("ids without a place: %d %d", uid, gid)
	}
}

func TestOf(t *testing.T) {
	d := &Remap{}
	own := &Own{}
	for mode, want := range map[container.UsernsMode]bool{"": true, "host": false, "remap": true} {
		if got, err := own.Of(&container.HostConfig{UsernsMode: mode}, d); err != nil || (got == d) != want {
			t.Errorf("mode %q with a remapping daemon: %v, %v", mode, got, err)
		}
	}
	for mode, want := range map[container.UsernsMode]bool{"": false, "host": false, "remap": true} {
		if got, err := own.Of(&container.HostConfig{UsernsMode: mode}, nil); err != nil || (got != nil) != want {
			t.Errorf("mode %q with a plain daemon: %v, %v", mode, got, err)
		}
	}
	hc := &container.HostConfig{UsernsMode: ModeRemap}
	first, _ := own.Of(hc, nil)
	if again, err := own.Of(hc, nil); again != first || err != nil {
		t.Errorf("the files were read again: %v", err)
	}
	own.seen[0].size++ // as if it had been another file then
	if again, err := own.Of(hc, nil); again == first || !reflect.DeepEqual(again, first) || err != nil {
		t.Errorf("a changed file was not read again: %v, %v", again, err)
	}
	if got, err := (*Own)(nil).Of(hc, nil); !reflect.DeepEqual(got, first) || err != nil {
		t.Errorf("without a memory: %v, %v", got, err)
	}
	for name, hc := range map[string]*container.HostConfig{
		"privileged": {Privileged: true}, "network": {NetworkMode: "host"}, "pid": {PidMode: "host"}, "ipc": {IpcMode: "host"}, "uts": {UTSMode: "host"},
	} {
		if d.Check(hc) == nil {
			t.Errorf("%s is not refused", name)
		}
		if (*Remap)(nil).Check(hc) != nil {
			t.Errorf("%s is refused without a user namespace", name)
		}
	}
}

func TestKernel(t *testing.T) {
	for release, ok := range map[string]bool{"5.18.0-x": false, "4.19.1": false, "5.19.0": true, "6.1.0-25-amd64": true, "10.0": true, "odd": true} {
		if err := checkRelease(release); (err == nil) != ok {
			t.Errorf("%s: %v", release, err)
		}
	}
}
