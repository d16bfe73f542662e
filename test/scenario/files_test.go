package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// Files go both ways with Docker's rules, whether the container runs or not, and
// through both clients.
func TestCopy(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			name := "cp-" + c.name
			d.Sampan("run", "-d", "--name", name, "-v", name+"-vol:/vol", busybox, "sh", "-c",
				"mkdir -p /d/s; echo one >/d/s/f; ln -s /d/s /l; ln -s ../nowhere /d/bad; mknod /d/p p; echo vol >/vol/v; sleep 1000").Must(t)
			waitFor(t, func() bool { return d.Sampan("exec", name, "ls", "/vol/v").Code == 0 })
			dir := t.TempDir()
			at := func(p string) string { return filepath.Join(dir, p) }
			read := func(p string) string {
				raw, err := os.ReadFile(at(p))
				if err != nil {
					return err.Error()
				}
				return strings.TrimSpace(string(raw))
			}
			ok := func(args ...string) { t.Helper(); c.do(append([]string{"cp"}, args...)...).Must(t) }
			ok(name+":/d", dir)
			ok(name+":/d/.", at("content"))
			ok(name+":/l", at("link"))
			ok("-L", name+":/l", at("followed"))
			ok(name+":/l/", at("slash"))
			ok(name+":/d/s/f", at("renamed"))
			ok(name+":/vol/v", at("v"))
			for p, want := range map[string]string{"d/s/f": "one", "content/s/f": "one", "followed/f": "one", "slash/f": "one", "renamed": "one", "v": "vol"} {
				if got := read(p); got != want {
					t.Errorf("%s: %q, want %q", p, got, want)
				}
			}
			if target, err := os.Readlink(at("link")); err != nil || target != "/d/s" {
				t.Errorf("link: %q, %v", target, err)
			}
			if st, err := os.Lstat(at("d/p")); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
				t.Errorf("FIFO: %v, %v", st, err)
			}
			if err := os.WriteFile(at("in"), []byte("in\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ok(at("in"), name+":/tmp")
			ok(at("in"), name+":/tmp/other")
			ok(at("in"), name+":/l") // through the link
			ok(at("in"), name+":/vol/")
			ok(at("d"), name+":/new")
			got := d.Sampan("exec", name, "cat", "/tmp/in", "/tmp/other", "/d/s/in", "/vol/in", "/new/s/f").Must(t)
			if got != "in\nin\nin\nin\none" {
				t.Errorf("in the container: %q", got)
			}
			packed := lab.Run(t, nil, "tar", "c", "-C", dir, "in").Out
			lab.Run(t, []byte(packed), lab.Bin(t, "sampan"), "cp", "-", name+":/d").Must(t)
			if got := d.Sampan("exec", name, "cat", "/d/in").Must(t); got != "in" {
				t.Errorf("from stdin: %q", got)
			}
			for _, tc := range []struct{ from, to, want string }{
				{name + ":/absent", dir, "Could not find the file /absent in container"},
				{at("in"), name + ":/absent/", "no such directory"},
				{at("d"), name + ":/tmp/in", "cannot copy directory"},
				{at("in"), name + ":/absent/x/y", "Could not find the file"},
				{"absent:/x", dir, "No such container: absent"},
			} {
				if r := c.do("cp", tc.from, tc.to); r.Code == 0 || c.name == "sampan" && !strings.Contains(r.Err, tc.want) { // docker has words of its own
					t.Errorf("cp %s %s: exit %d, %q; want %q", tc.from, tc.to, r.Code, r.Err, tc.want)
				}
			}
			d.Sampan("stop", "-t", "0", name).Must(t)
			ok(name+":/d/s/f", at("stopped"))
			ok(name+":/vol/in", at("stoppedvol"))
			ok(at("in"), name+":/d/after")
			ok(at("in"), name+":/vol/after")
			d.Sampan("start", name).Must(t)
			if got := d.Sampan("exec", name, "cat", "/d/after", "/vol/after").Must(t); got != "in\nin" || read("stopped") != "one" || read("stoppedvol") != "in" {
				t.Errorf("a stopped container: %q, %q, %q", got, read("stopped"), read("stoppedvol"))
			}
		})
	}
	t.Run("read-only", func(t *testing.T) {
		d.Sampan("run", "-d", "--name", "ro", "--read-only", busybox, "sleep", "1000").Must(t)
		for range 2 { // running, then stopped
			if r := d.Docker("cp", "/etc/hostname", "ro:/x"); r.Code == 0 || !strings.Contains(r.Err, "marked read-only") {
				t.Errorf("exit %d, %q", r.Code, r.Err)
			}
			d.Sampan("stop", "-t", "0", "ro").Must(t)
		}
	})
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(lab.Scale(10 * time.Second)); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatal("it did not happen in time")
}

// What a container changed becomes an image, an archive, and an image again.
func TestRoundTrips(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "work", busybox, "sh", "-c", "echo made >/made; chmod 4711 /made; mkdir /tmp/x; sleep 1000").Must(t)
	waitFor(t, func() bool { return d.Sampan("exec", "work", "ls", "/tmp/x").Code == 0 })
	d.Sampan("exec", "work", "busybox", "rm", "/bin/seq").Must(t)
	for _, c := range clients(d) {
		if got := c.do("diff", "work").Must(t); got != "C /bin\nD /bin/seq\nA /made\nC /tmp\nA /tmp/x" && got != "C /bin\nD /bin/seq\nC /tmp\nA /tmp/x\nA /made" {
			t.Errorf("%s diff: %q", c.name, got)
		}
	}
	check := func(image string) {
		t.Helper()
		got := d.Sampan("run", "--rm", image, "sh", "-c", "cat /made; ls -l /made; ls /bin/seq 2>&1; ls /bin/cat").Must(t)
		if !strings.HasPrefix(got, "made\n-rws--x--x") || !strings.Contains(got, "/bin/seq: No such file") || !strings.HasSuffix(got, "/bin/cat") {
			t.Errorf("%s: %q", image, got)
		}
	}
	d.Docker("commit", "-a", "Ann", "-m", "why", "-c", "ENV A=b", "-c", `CMD ["cat","/made"]`, "work", "app:1").Must(t)
	check("app:1")
	if got := d.Docker("run", "--rm", "app:1").Must(t); got != "made" {
		t.Errorf("CMD of the commit: %q", got)
	}
	if got := d.Docker("inspect", "-f", "{{.Author}} {{.Comment}} {{json .Config.Env}}", "app:1").Must(t); !strings.HasPrefix(got, "Ann") || !strings.Contains(got, "A=b") {
		t.Errorf("the commit's config: %q", got)
	}
	dir := t.TempDir()
	first, second, exported := filepath.Join(dir, "1.tar"), filepath.Join(dir, "2.tar"), filepath.Join(dir, "root.tar")
	d.Docker("save", "-o", first, "app:1").Must(t)
	d.Sampan("rmi", "app:1").Must(t)
	if got := d.Docker("load", "-i", first).Must(t); !strings.Contains(got, "Loaded image: app:1") {
		t.Errorf("load: %q", got)
	}
	check("app:1")
	// An archive that was loaded is written again byte for byte.
	d.Sampan("save", "-o", second, "app:1").Must(t)
	if r := lab.Run(t, nil, "cmp", first, second); r.Code != 0 {
		t.Errorf("save, load, save: %s%s", r.Out, r.Err)
	}
	layout := filepath.Join(dir, "layout")
	if err := os.Mkdir(layout, 0o700); err != nil {
		t.Fatal(err)
	}
	if r := lab.Run(t, nil, "sh", "-c", "cd "+layout+" && tar xf "+first+" && rm manifest.json && tar czf ../oci.tgz ."); r.Code != 0 {
		t.Fatal(r.Err)
	}
	d.Sampan("rmi", "app:1").Must(t)
	d.Sampan("load", "-i", filepath.Join(dir, "oci.tgz")).Must(t)
	check("app:1")
	for range 2 { // running, then stopped
		d.Sampan("export", "-o", exported, "work").Must(t)
		d.Docker("import", exported, "flat:1").Must(t)
		check("flat:1")
		d.Sampan("stop", "-t", "0", "work").Must(t)
	}
	for name, raw := range map[string]string{"no tar": "hello", "empty": "", "no image": lab.Run(t, nil, "sh", "-c", "tar c -C /etc hostname").Out} {
		bad := filepath.Join(dir, "bad")
		if err := os.WriteFile(bad, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := d.Sampan("load", "-i", bad); r.Code != 1 || !strings.Contains(r.Err, "load: ") {
			t.Errorf("%s: exit %d, %q", name, r.Code, r.Err)
		}
	}
	left, _ := filepath.Glob(lab.DataRoot + "/load-*")
	more, _ := filepath.Glob(lab.DataRoot + "/save-*")
	if len(left)+len(more) > 0 {
		t.Errorf("left behind: %v %v", left, more)
	}
}

func TestVolumes(t *testing.T) {
	d := start(t)
	d.Docker("volume", "create", "--label", "tier=db", "data").Must(t)
	d.Docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7", "mem").Must(t)
	d.Docker("run", "-d", "--name", "one", "-v", "data:/data", "-v", "mem:/mem", "-v", "/anon", busybox, "sh", "-c",
		"mkdir /data/sub; ln -s / /data/out; echo x >/data/sub/f; echo t >/mem/t; sleep 1000").Must(t)
	waitFor(t, func() bool { return d.Sampan("exec", "one", "ls", "/mem/t").Code == 0 })
	for _, c := range clients(d) {
		if got := c.do("run", "--rm", "--volumes-from", "one:ro", busybox, "sh", "-c", "cat /data/sub/f /mem/t; echo y 2>/dev/null >/data/no || echo refused").Must(t); got != "x\nt\nrefused" {
			t.Errorf("%s --volumes-from: %q", c.name, got)
		}
		if got := c.do("run", "--rm", "--mount", "type=volume,src=data,dst=/s,volume-subpath=sub", busybox, "cat", "/s/f"); c.name == "sampan" && got.Must(t) != "x" {
			t.Errorf("%s subpath: %q", c.name, got.Out)
		}
		if got := c.do("volume", "ls", "-q", "-f", "label=tier=db").Must(t); got != "data" {
			t.Errorf("%s ls: %q", c.name, got)
		}
		if r := c.do("volume", "rm", "data"); r.Code != 1 || !strings.Contains(r.Err, "remove data: volume is in use - [") {
			t.Errorf("%s rm of a used one: %d, %q", c.name, r.Code, r.Err)
		}
		if r := c.do("volume", "inspect", "absent"); r.Code != 1 || !strings.Contains(r.Err, "absent") {
			t.Errorf("%s inspect: %d, %q", c.name, r.Code, r.Err)
		}
	}
	// A link in a volume leads nowhere but into the volume.
	if r := d.Sampan("run", "--rm", "--mount", "type=volume,src=data,dst=/s,volume-subpath=out", busybox, "ls", "/s"); r.Code == 0 && strings.TrimSpace(r.Out) != "out\nsub" {
		t.Errorf("a link as subpath: %q, %q", r.Out, r.Err)
	}
	// The mount outlives the daemon, and goes with its last user.
	mounted := func() bool { return strings.Contains(lab.Mounts(t), "/volumes/mem/_data") }
	d.Kill()
	d.Restart()
	if got := d.Sampan("exec", "one", "cat", "/mem/t").Must(t); got != "t" || !mounted() {
		t.Errorf("after a restart of the daemon: %q, mounted %v", got, mounted())
	}
	d.Sampan("rm", "-fv", "one").Must(t)
	if mounted() {
		t.Error("the volume of nobody is still mounted")
	}
	if got := d.Sampan("volume", "ls", "-q").Must(t); got != "data\nmem" {
		t.Errorf("rm -v left %q", got)
	}
	d.Docker("volume", "create").Must(t)
	if got := d.Sampan("volume", "prune", "-f").Must(t); strings.Contains(got, "data") || !strings.Contains(got, "Deleted Volumes:") {
		t.Errorf("prune: %q", got)
	}
	for _, r := range []lab.Result{d.Docker("system", "df", "-v"), d.Sampan("system", "df", "-v")} {
		if got := r.Must(t); !strings.Contains(got, "data") || !strings.Contains(got, "Local Volumes space usage:") {
			t.Errorf("df: %q", got)
		}
	}
	d.Docker("system", "prune", "-af", "--volumes").Must(t)
	d.Sampan("volume", "prune", "-af").Must(t)
	// A volume that somebody gave options is spared, as in Docker.
	if got := d.Sampan("volume", "ls", "-q").Must(t); got != "mem" {
		t.Errorf("prune -a left %q", got)
	}
	d.Sampan("volume", "rm", "mem").Must(t)
	if got := d.Sampan("images", "-q").Must(t); got != "" {
		t.Errorf("system prune -a left images %q", got)
	}
}
