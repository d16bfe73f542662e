package scenario

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What containers have of each other is Docker's: volumes of several, one link name
// for two, a network behind a network, an image's descendants.
func TestWaysOfNeighbours(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			do := func(args ...string) string { t.Helper(); return c.do(args...).Must(t) }
			defer c.do("rm", "-fv", "one", "two", "heir", "aa", "bb", "beside", "web", "kin", "private", "guest")
			for _, name := range []string{"one", "two"} {
				do("run", "--name", name, "-v", "/data", busybox, "sh", "-c", "echo "+name+" >/data/f")
			}
			if got := do("run", "--name", "heir", "--volumes-from", "one", "--volumes-from", "two:ro", busybox, "cat", "/data/f"); got != "two" {
				t.Errorf("of two containers' volumes at one place there is that of %q", got)
			}
			volume := do("inspect", "-f", "{{(index .Mounts 0).Name}}", "heir")
			do("rm", "one", "two")
			do("rm", "-v", "heir")
			if left := do("volume", "ls", "-q"); strings.Contains(left, volume) {
				t.Error("the last container of an anonymous volume left it behind with rm -v")
			}

			do("run", "-d", "--name", "aa", busybox, "sleep", "1000")
			do("run", "-d", "--name", "bb", busybox, "sleep", "1000")
			do("run", "-d", "--name", "beside", "--network", "container:bb", busybox, "sleep", "1000")
			if hosts := do("run", "--rm", "--link", "aa:db", "--link", "bb:db", busybox, "cat", "/etc/hosts"); strings.Count(hosts, "\tdb") != 2 {
				t.Errorf("two containers of one alias: %s", hosts)
			}
			address := do("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "bb")
			if hosts := do("run", "--rm", "--link", "beside:x", busybox, "cat", "/etc/hosts"); !strings.Contains(hosts, address+"\tx") {
				t.Errorf("a container in another's network is not found at %s: %s", address, hosts)
			}

			do("commit", "aa", "kin:1")
			defer c.do("rmi", "-f", "kin:1")
			do("run", "--name", "kin", "kin:1", "true")
			if got := do("ps", "-a", "--filter", "ancestor="+busybox, "--format", "{{.Names}}"); !strings.Contains(got, "kin") {
				t.Errorf("descendants of an image: %q", got)
			}
			do("create", "--name", "guest", "--ipc", "container:aa", busybox, "true")
			if r := c.do("start", "guest"); r.Code == 0 || !strings.Contains(r.Err, "cannot join IPC of container") {
				t.Errorf("a start in a private IPC namespace: %d %q", r.Code, r.Err)
			}
		})
	}
}

// A copy into the working directory of a container that never ran finds it made.
func TestCopyIntoTheWorkingDirectory(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte("brought\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		name := "cp-" + c.name
		c.do("create", "--name", name, "-w", "/srv/app", busybox, "cat", "f").Must(t)
		c.do("cp", file, name+":/srv/app").Must(t)
		if got := c.do("start", "-a", name).Must(t); got != "brought" {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	d.Sampan("network", "create", "--ipv6", "--subnet", "fd80:24e2:f998:72d6::/64", "--subnet", "172.28.0.0/16", "two").Must(t)
	if got := d.Docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "two").Must(t); got != "172.28.0.0/16" {
		t.Errorf("the first subnet is %s", got)
	}
}

// Ports that no network of the container can publish wait for one that can.
func TestPortsWaitForANetwork(t *testing.T) {
	d := start(t)
	d.Sampan("network", "create", "--internal", "inside").Must(t)
	d.Sampan("network", "create", "outside").Must(t)
	d.Sampan("run", "-d", "--name", "web", "--network", "inside", "-p", "127.0.0.1:18099:80", busybox, "httpd", "-f", "-p", "80").Must(t)
	if r := d.Sampan("port", "web"); r.Out != "" {
		t.Errorf("published on an internal network: %q", r.Out)
	}
	d.Docker("network", "connect", "outside", "web").Must(t)
	if got := d.Docker("port", "web").Must(t); got != "80/tcp -> 127.0.0.1:18099" {
		t.Errorf("published on the second network: %q", got)
	}
	answered := func() bool {
		r, err := http.Get("http://127.0.0.1:18099/")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusNotFound
	}
	waitFor(t, answered)
	d.Docker("network", "disconnect", "outside", "web").Must(t)
	d.Docker("network", "connect", "outside", "web").Must(t)
	waitFor(t, answered)
}

// Small things that scripts for Docker rely on.
func TestWaysOfARun(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		for _, tc := range []struct {
			name string
			args []string
			want string
		}{
			{"an empty HOME is none", []string{"run", "--rm", "-e", "HOME=", "-u", "app", busybox, "sh", "-c", "echo $HOME"}, "/tmp\n"},
			{"a directory without devices", []string{"run", "--rm", "--device", "/etc", busybox, "true"}, "not a device node"},
			{"an address in the host's network", []string{"run", "--rm", "--network", "host", "--mac-address", "92:d0:c6:0a:29:33", busybox, "true"}, "conflicting options: mac-address and the network mode"},
			{"half a network mode", []string{"run", "--rm", "--network", "container", busybox, "true"}, "invalid container format container:<name|id>"},
			{"an unknown state", []string{"ps", "--filter", "status=merry"}, "invalid filter 'status=merry'"},
		} {
			if r := c.do(tc.args...); !strings.Contains(r.Out+r.Err, tc.want) {
				t.Errorf("%s, %s: exit %d, %q", c.name, tc.name, r.Code, r.Out+r.Err)
			}
		}
	}
}

// What our client says alone, where the stock client of one version or another differs.
func TestWaysOfTheClient(t *testing.T) {
	d := start(t)
	id := d.Sampan("run", "-i", "-a", "stdin", "--name", "fed", busybox, "cat").Must(t)
	if got := d.Sampan("inspect", "-f", "{{.Id}}", "fed").Must(t); got != id {
		t.Errorf("a run with input alone says %q, and its ID is %q", id, got)
	}
	d.Sampan("wait", "fed").Must(t)
	if got := d.Sampan("inspect", "-f", "{{range .NetworkSettings.Networks}}<{{.IPAddress}}>{{end}}", "fed").Must(t); got != "<>" {
		t.Errorf("the address of a container that ended: %q", got)
	}
	if got := d.Sampan("events", "--since", "0", "--until", "0s", "--filter", "event=create", "--format", "{{.Actor.Attributes.name}}").Must(t); got != "fed" {
		t.Errorf("events since 1970: %q", got)
	}
	// Each may need those before it.
	d.Sampan("create", "--name", "base", busybox, "sleep", "1000").Must(t)
	d.Sampan("create", "--name", "on-base", "--network", "container:base", busybox, "sleep", "1000").Must(t)
	d.Sampan("create", "--name", "on-both", "--network", "container:on-base", busybox, "true").Must(t)
	d.Sampan("start", "base", "on-base", "on-both").Must(t)
	d.Sampan("volume", "create", "--name=old").Must(t)
	config := t.TempDir()
	if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(`{"volumesFormat":"<{{.Name}}>","pruneFilters":["label=away"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.Sampan("--config", config, "volume", "ls").Must(t); got != "<old>" {
		t.Errorf("volumesFormat: %q", got)
	}
	d.Sampan("--config", config, "container", "prune", "-f").Must(t)
	if got := d.Sampan("ps", "-aq").Must(t); got == "" {
		t.Error("pruneFilters did not keep a container without the label")
	}
}
