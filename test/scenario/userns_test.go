package scenario

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// owner is who a file of the host belongs to.
func owner(t *testing.T, path string) int {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(st.Sys().(*syscall.Stat_t).Uid)
}

// With --userns-remap root of a container is nobody on the host, and no file is copied
// or given to another owner for it.
func TestUserNamespaces(t *testing.T) {
	d := start(t, "--userns-remap", "default")
	const first = 1000000000
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			bind := t.TempDir()
			if err := os.Chmod(bind, 0o777); err != nil {
				t.Fatal(err)
			}
			c.do("run", "-d", "--name", "mapped", "--cap-add", "NET_ADMIN", "-v", "data:/data", "-v", bind+":/bind", busybox, "sleep", "1000").Must(t)
			defer c.do("volume", "rm", "data")
			defer c.do("rm", "-f", "mapped")
			for _, tc := range []struct {
				name, want string
				args       []string
			}{
				{"map", "0 1000000000 65536", []string{"exec", "mapped", "sh", "-c", "echo $(cat /proc/self/uid_map)"}},
				{"root", "0", []string{"exec", "mapped", "id", "-u"}},
				{"user", "1000", []string{"exec", "-u", "app", "mapped", "id", "-u"}},
				{"image's files", "root root", []string{"exec", "mapped", "sh", "-c", "set -- $(ls -ld /bin/busybox); echo $3 $4"}},
				{"network's files", "root", []string{"exec", "mapped", "sh", "-c", "set -- $(ls -l /etc/resolv.conf); echo $3"}},
				{"its own", "app", []string{"exec", "mapped", "sh", "-c", "touch /tmp/own /data/own /bind/own && chmod 600 /tmp/own && chown 1000 /tmp/own && set -- $(ls -l /tmp/own); echo $3"}},
				{"links are its own", "up", []string{"exec", "mapped", "sh", "-c", "ip link set lo down && ip link set lo up && echo up"}},
			} {
				if got := c.do(tc.args...).Must(t); got != tc.want {
					t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
				}
			}
			pid := c.do("inspect", "-f", "{{.State.Pid}}", "mapped").Must(t)
			if got := owner(t, "/proc/"+pid); got != first {
				t.Errorf("the process runs as %d", got)
			}
			if got := owner(t, filepath.Join(bind, "own")); got != first {
				t.Errorf("on a bind mount of the host root's file belongs to %d", got)
			}
			// What the layers and volumes hold is the container's own numbering.
			if got := owner(t, filepath.Join(c.do("volume", "inspect", "-f", "{{.Mountpoint}}", "data").Must(t), "own")); got != 0 {
				t.Errorf("in a volume root's file is kept as %d", got)
			}
			if got := c.do("run", "--rm", "--userns", "host", "-v", "data:/data", busybox, "sh", "-c", "set -- $(ls -l /data/own); echo $3; echo $(cat /proc/self/uid_map)").Must(t); got != "root\n0 0 4294967295" {
				t.Errorf("a plain container sees the volume's file and its map as %q", got)
			}
			filesOfMapped(t, c)
			for _, tc := range []struct {
				want string
				args []string
			}{
				{"privileged mode is incompatible with user namespaces", []string{"--privileged"}},
				{"cannot share the host's network namespace when user namespaces are enabled", []string{"--network", "host"}},
				{"cannot share the host PID namespace when user namespaces are enabled", []string{"--pid", "host"}},
			} {
				r := c.do(append(append([]string{"run", "--rm"}, tc.args...), busybox, "true")...)
				if r.Code != 125 || !strings.Contains(r.Err, tc.want) {
					t.Errorf("%q: exit %d, %q", tc.args, r.Code, r.Err)
				}
			}
			if got := c.do("run", "--rm", "--network", "container:mapped", "--pid", "container:mapped", "--cap-add", "NET_ADMIN", busybox, "sh", "-c", "ip link set lo up && kill -0 1 && echo joined").Must(t); got != "joined" {
				t.Errorf("a container beside it: %q", got)
			}
		})
	}
}

// filesOfMapped copies in, out, and commits: everything outside of the kernel sees the
// container's owners.
func filesOfMapped(t *testing.T, c client) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.do("cp", "-a", file, "mapped:/tmp/in").Must(t)
	c.do("cp", "-a", file, "mapped:/data/in").Must(t)
	if got := c.do("exec", "mapped", "sh", "-c", "set -- $(ls -l /tmp/in) $(ls -l /data/in); echo $3 ${12}").Must(t); got != "root root" {
		t.Errorf("what was copied in belongs to %q", got)
	}
	h, err := tar.NewReader(strings.NewReader(c.do("cp", "mapped:/tmp/own", "-").Out)).Next()
	if err != nil || h.Uid != 1000 {
		t.Errorf("what was copied out: %+v, %v", h, err)
	}
	c.do("commit", "mapped", "mapped:image").Must(t)
	defer c.do("rmi", "mapped:image")
	if got := c.do("run", "--rm", "--userns", "host", "mapped:image", "sh", "-c", "set -- $(ls -l /tmp/own); echo $3").Must(t); got != "app" {
		t.Errorf("in an image made of it the file belongs to %q", got)
	}
	c.do("stop", "-t", "0", "mapped").Must(t)
	c.do("cp", "-a", file, "mapped:/tmp/in2").Must(t)
	c.do("start", "mapped").Must(t)
	if got := c.do("exec", "mapped", "sh", "-c", "set -- $(ls -l /tmp/in2); echo $3").Must(t); got != "root" {
		t.Errorf("what was copied into it while it was stopped belongs to %q", got)
	}
}

// One container may be remapped on a daemon that does not.
func TestUserNamespaceOfOneContainer(t *testing.T) {
	d := start(t)
	if got := d.Sampan("run", "--rm", "--userns", "remap", busybox, "sh", "-c", "echo $(cat /proc/self/uid_map)").Must(t); got != "0 1000000000 65536" {
		t.Errorf("map %q", got)
	}
	d.Sampan("run", "-d", "--name", "mapped", "--userns", "remap", busybox, "sleep", "1000").Must(t)
	d.Kill()
	d.Restart("--userns-remap", "default")
	if got := d.Sampan("exec", "mapped", "id", "-u").Must(t); got != "0" {
		t.Errorf("exec after a restart of the daemon: %q", got)
	}
}
