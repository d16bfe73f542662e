package value

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestLabelsOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "labels")
	if err := os.WriteFile(path, []byte("\ufeffa=1\n# no\n\n  b=2 \nbare\nc=x=y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Labels([]string{path}, []string{"a=flag", "d"})
	want := map[string]string{"a": "flag", "b": "2 ", "bare": "", "c": "x=y", "d": ""}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func TestEnvFileErrors(t *testing.T) {
	for name, text := range map[string]string{"whitespaces": "A B=1\n", "no variable name": "=x\n", "invalid utf8": "A=\xff\n"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "env")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Env([]string{path}, nil); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDevice(t *testing.T) {
	for spec, want := range map[string]container.DeviceMapping{
		"/dev/a":           {PathOnHost: "/dev/a", PathInContainer: "/dev/a", CgroupPermissions: "rwm"},
		"/dev/a:r":         {PathOnHost: "/dev/a", PathInContainer: "/dev/a", CgroupPermissions: "r"},
		"/dev/a:/dev/b":    {PathOnHost: "/dev/a", PathInContainer: "/dev/b", CgroupPermissions: "rwm"},
		"/dev/a:/dev/b:rw": {PathOnHost: "/dev/a", PathInContainer: "/dev/b", CgroupPermissions: "rw"},
	} {
		if got, err := Device(spec); err != nil || got != want {
			t.Errorf("Device(%q) = %+v, %v", spec, got, err)
		}
	}
	for spec, good := range map[string]bool{
		"/dev/a": true, "/dev/a:rwm": true, "/dev/a:/b:m": true, "v.com/c=d": true,
		"": false, "dev": false, "/dev/a:b": false, "/dev/a:/b:x": false, "/dev/a:/b:rr": false, "/a:/b:r:w": false,
	} {
		if _, err := CheckDevice(spec); (err == nil) != good {
			t.Errorf("CheckDevice(%q) = %v", spec, err)
		}
	}
}

func TestPlatform(t *testing.T) {
	for spec, want := range map[string]string{
		"linux/amd64": "linux/amd64/", "linux": "linux/amd64/", "arm64": "linux/arm64/", "linux/x86_64": "linux/amd64/",
		"linux/arm/7": "linux/arm/v7", "linux/armhf": "linux/arm/v7", "LINUX/ARM64/v8": "linux/arm64/v8",
	} {
		p, err := Platform(spec)
		if err != nil || p.OS+"/"+p.Architecture+"/"+p.Variant != want {
			t.Errorf("Platform(%q) = %+v, %v; want %s", spec, p, err, want)
		}
	}
	for _, spec := range []string{"a/b/c/d", "linux/", "lin ux", "linux//v7"} {
		if p, err := Platform(spec); err == nil {
			t.Errorf("Platform(%q) = %+v", spec, p)
		}
	}
}

func TestVolumesKeepTheirOrder(t *testing.T) {
	binds, anonymous, err := Volumes([]string{"/z:/z", "v:/v:ro", "/anon", "/a:/a", "/z:/z"})
	if err != nil || !slices.Equal(binds, []string{"/z:/z", "v:/v:ro", "/a:/a"}) || len(anonymous) != 1 {
		t.Errorf("got %q, %v, %v", binds, anonymous, err)
	}
}

// The parsers take what a user types: they may refuse it, but never fail in
// another way, and what they take must survive being taken again.
func FuzzMount(f *testing.F) {
	for _, s := range []string{"type=bind,src=/a,dst=/b,ro", "dst=/x,volume-opt=o=a=b", `"a,b"=c`, "tmpfs-size=1g,type=tmpfs,dst=/t", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Mount(s)
		if err == nil && (m.Target == "" || m.Type == "") {
			t.Errorf("Mount(%q) took a mount without target or type: %+v", s, m)
		}
	})
}

func FuzzPorts(f *testing.F) {
	for _, s := range []string{"80", "8080:80/udp", "[::1]:1-3:4-6", "127.0.0.1::9", "published=1,target=2", "1-65535"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, bindings, err := Ports([]string{s}, nil)
		if err != nil {
			return
		}
		for p := range bindings {
			if _, ok := set[p]; !ok {
				t.Errorf("Ports(%q) publishes %s without exposing it", s, p)
			}
		}
	})
}

func FuzzNetwork(f *testing.F) {
	for _, s := range []string{"host", "name=n,ip=1.2.3.4,alias=a", "name=n,driver-opt=a=b", "name=n,gw-priority=-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var n Networks
		if n.Set(s) == nil && s != "" && n.Values[0].Target == "" {
			t.Errorf("Set(%q) took a network without a name", s)
		}
	})
}

func FuzzExtraHost(f *testing.F) {
	for _, s := range []string{"a:1.2.3.4", "b=[::1]", "c:host-gateway", "a:::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := CheckExtraHost(s)
		if err != nil || strings.Contains(s, "=") {
			return
		}
		if twice, err := CheckExtraHost(once); err != nil || twice != once {
			t.Errorf("%q became %q and then %q (%v)", s, once, twice, err)
		}
	})
}

func FuzzEnvFile(f *testing.F) {
	f.Add([]byte("A=1\n#c\nB\n"))
	f.Add([]byte("\ufeff A=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := parsePairs(strings.NewReader(string(data)), func(k string) (string, bool) { return k, true })
		if err != nil {
			return
		}
		for _, item := range items {
			if item == "" || item[0] == '=' || strings.Contains(item, "\n") {
				t.Errorf("from %q came %q", data, item)
			}
		}
	})
}

func TestDeviceRules(t *testing.T) {
	for rule, good := range map[string]bool{
		"c 1:3 rwm": true, "b *:* r": true, "a 10:* mr": true, "c 1:3 rrr": true,
		"": false, "c": false, "c 1:3": false, "c 1:3 ": false, "d 1:3 r": false, "cc 1:3 r": false, "c 1 r": false, "c : r": false, "c 1: r": false,
		"c 1:2:3 r": false, "c -1:3 r": false, "c **:3 r": false, "c 1*:3 r": false, "c 1:3 rwmr": false, "c 1:3 x": false, "c  1:3 r": false, "c 1:3 r ": false, "c 1:3 r\n": false,
	} {
		if got, err := CheckDeviceRule(rule); (err == nil) != good || good && got != rule {
			t.Errorf("%q: %q, %v", rule, got, err)
		}
	}
}
