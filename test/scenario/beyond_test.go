package scenario

import (
	"os"
	"strings"
	"testing"
)

// A program of the host in a container that does not have it.
func TestNsenter(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "box", "--hostname", "inside", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "mapped", "--userns", "remap", busybox, "sleep", "1000").Must(t)
	d.Sampan("create", "--name", "idle", busybox, "true").Must(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		out  string // contained
		err  string
	}{
		{"tools of the host, links of the container", []string{"box", "ip", "-o", "link"}, 0, "eth0", ""},
		{"its host name", []string{"box", "uname", "-n"}, 0, "inside", ""},
		{"files of the host", []string{"box", "sh", "-c", "test -e /usr/bin/docker && echo host"}, 0, "host", ""},
		{"only what is chosen", []string{"-n", "box", "uname", "-n"}, 0, host, ""},
		{"its files", []string{"--mount", "box", "ls", "/bin/busybox"}, 0, "/bin/busybox", ""},
		{"all", []string{"-a", "box", "sh", "-c", "echo $(hostname); test $$ -lt 1000 && ps | grep -c '[s]leep 1000'"}, 0, "inside\n1", ""},
		{"exit code", []string{"box", "sh", "-c", "exit 7"}, 7, "", ""},
		{"exit code of a child", []string{"-p", "box", "sh", "-c", "exit 7"}, 7, "", ""},
		{"death of a child", []string{"-p", "box", "sh", "-c", "kill -9 $$"}, 137, "", ""},
		{"missing program", []string{"box", "nosuch"}, 127, "", "nosuch"},
		{"a remapped container", []string{"mapped", "ip", "-o", "link"}, 0, "eth0", ""},
		{"one that does not run", []string{"idle", "true"}, 1, "", "is not running"},
		{"one that is not there", []string{"nosuch", "true"}, 1, "", "No such container"},
		{"another host", []string{"box"}, 1, "", ""},
	} {
		args := append([]string{"nsenter"}, tc.args...)
		if tc.name == "another host" {
			args = append([]string{"-H", "tcp://127.0.0.1:1"}, args...)
			tc.err = "on the daemon's own host only"
		}
		r := d.Sampan(args...)
		if r.Code != tc.code || !strings.Contains(r.Out, tc.out) || !strings.Contains(r.Err, tc.err) {
			t.Errorf("%s: exit %d, %q, %q", tc.name, r.Code, r.Out, r.Err)
		}
	}
}

// All containers of a kind at once, and what a prune would do.
func TestAllAndDryRun(t *testing.T) {
	d := start(t)
	for _, name := range []string{"run1", "run2"} {
		d.Sampan("run", "-d", "--name", name, "--stop-timeout", "0", busybox, "sleep", "1000").Must(t)
	}
	d.Sampan("run", "--name", "done", busybox, "true").Must(t)
	d.Sampan("create", "--name", "made", busybox, "true").Must(t)
	names := func(filter string) string {
		return strings.Join(strings.Fields(d.Sampan("ps", "-a", "--filter", filter, "--format", "{{.Names}}").Must(t)), " ")
	}
	for _, args := range [][]string{{"rm"}, {"rm", "--all", "done"}, {"rm", "--all", "--exited"}, {"stop", "--all", "run1"}, {"kill"}} {
		if r := d.Sampan(args...); r.Code != 1 {
			t.Errorf("%q: exit %d", args, r.Code)
		}
	}
	for _, args := range [][]string{{"container", "prune", "--dry-run"}, {"system", "prune", "--dry-run"}} {
		out := d.Sampan(args...).Must(t)
		if n := len(strings.Fields(out)); !strings.HasPrefix(out, "Containers that would be deleted:") || !strings.Contains(out, "Space that would be reclaimed: ") || n < 6 {
			t.Errorf("%q: %q", args, out)
		}
	}
	if got := names("status=exited"); got != "done" {
		t.Errorf("a dry run left %q", got)
	}
	d.Sampan("volume", "create", "spare").Must(t)
	if out := d.Sampan("volume", "prune", "-a", "--dry-run").Must(t); !strings.Contains(out, "Volumes that would be deleted:\nspare") {
		t.Errorf("volume prune --dry-run: %q", out)
	}
	d.Sampan("volume", "rm", "spare").Must(t)
	if out := d.Sampan("stop", "--all").Must(t); len(strings.Fields(out)) != 2 {
		t.Errorf("stop --all: %q", out)
	}
	if got := names("status=running"); got != "" {
		t.Errorf("after stop --all: %q run", got)
	}
	d.Sampan("start", "run1", "run2").Must(t)
	d.Sampan("kill", "--all").Must(t)
	d.Sampan("wait", "run1", "run2").Must(t)
	d.Sampan("start", "run1").Must(t)
	d.Sampan("rm", "--exited").Must(t)
	if got := names("name=."); got != "made run1" {
		t.Errorf("after rm --exited: %q", got)
	}
	if r := d.Sampan("rm", "--all"); r.Code != 1 || !strings.Contains(r.Err, "running") {
		t.Errorf("rm --all with one that runs: exit %d, %q", r.Code, r.Err)
	}
	d.Sampan("rm", "-f", "--all").Must(t)
	if got := names("name=."); got != "" {
		t.Errorf("after rm -f --all: %q", got)
	}
	if out := d.Sampan("rm", "--all").Must(t); out != "" {
		t.Errorf("rm --all of none: %q", out)
	}
}

// What the machine has, and what each gap costs.
func TestSystemCheck(t *testing.T) {
	d := start(t)
	r := d.Sampan("system", "check", "--all")
	for _, want := range []string{"ok     kernel    mnt namespace: available", "cgroups", "security", "seccomp filters", "network", "storage   data root: /var/lib/sampan on ", "limits    kernel.pid_max: ", " in order, "} {
		if !strings.Contains(r.Out, want) {
			t.Errorf("%q is not said in:\n%s%s", want, r.Out, r.Err)
		}
	}
	if faults := strings.Contains(r.Out, "\nfault"); faults != (r.Code == 1) {
		t.Errorf("exit %d:\n%s%s", r.Code, r.Out, r.Err)
	}
	if short := d.Sampan("system", "check").Out; strings.Contains(short, "\nok ") || len(short) >= len(r.Out) {
		t.Errorf("without --all:\n%s", short)
	}
}

// Files go from container to container, running or not.
func TestCopyBetweenContainers(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "from", busybox, "sleep", "1000").Must(t)
	d.Sampan("exec", "from", "sh", "-c", "mkdir -p /d/sub; echo x > /d/f; ln -s f /d/link; ln /d/f /d/sub/hard; chmod 640 /d/f; chown 1000:1000 /d/f").Must(t)
	d.Sampan("run", "-d", "--name", "to", busybox, "sleep", "1000").Must(t)
	d.Sampan("create", "--name", "idle", busybox, "ls", "/d").Must(t)
	for _, tc := range []struct {
		src, dst, look, want string
	}{
		{"from:/d", "to:/new", "cat /new/f /new/link /new/sub/hard", "x\nx\nx"},
		{"from:/d", "to:/tmp", "cat /tmp/d/f", "x"},
		{"from:/d/.", "to:/var", "cat /var/f", "x"},
		{"from:/d/f", "to:/tmp/g", "set -- $(ls -l /tmp/g); echo $1 $3", "-rw-r----- app"},
		{"from:/d/f", "to:/etc/", "cat /etc/f", "x"},
		{"from:d/link", "to:/tmp/copied", "ls -l /tmp/copied | grep -c ' -> f'", "1"},
	} {
		d.Sampan("cp", tc.src, tc.dst).Must(t)
		if got := d.Sampan("exec", "to", "sh", "-c", tc.look).Must(t); got != tc.want {
			t.Errorf("cp %s %s: %q, want %q", tc.src, tc.dst, got, tc.want)
		}
	}
	d.Sampan("cp", "-L", "from:/d/link", "to:/tmp/followed").Must(t)
	if got := d.Sampan("exec", "to", "sh", "-c", "test -L /tmp/followed || cat /tmp/followed").Must(t); got != "x" {
		t.Errorf("a link that is followed: %q", got)
	}
	d.Sampan("cp", "from:/d", "idle:/").Must(t)
	if got := d.Sampan("start", "-a", "idle").Must(t); got != "f\nlink\nsub" {
		t.Errorf("in one that did not run: %q", got)
	}
	for _, args := range [][]string{{"from:/nosuch", "to:/tmp"}, {"from:/d", "nosuch:/tmp"}, {"from:/d/f", "to:/no/dir/"}, {"from:/d", "to:/etc/passwd"}} {
		if r := d.Sampan(append([]string{"cp"}, args...)...); r.Code != 1 || r.Err == "" {
			t.Errorf("cp %q: exit %d, %q", args, r.Code, r.Err)
		}
	}
}

// The same settings with a new image, or other variables, labels and mounts.
func TestRecreate(t *testing.T) {
	d := start(t)
	d.Sampan("network", "create", "net1").Must(t)
	id := d.Sampan("run", "-d", "--name", "app", "--network", "net1", "--network-alias", "web", "--restart", "always", "--stop-timeout", "0", "-m", "64m", "-e", "A=1", "-e", "B=2",
		"-l", "tier=front", "-v", "/anon", "-v", "named:/named", busybox, "sleep", "1000").Must(t)
	d.Sampan("exec", "app", "sh", "-c", "echo kept > /anon/f; echo kept > /named/f; echo lost > /tmp/f").Must(t)
	d.Sampan("commit", "-c", "ENV NEW=image", "-c", "LABEL from=image", "app", "next:1").Must(t)
	inspect := func(format string) string { return d.Sampan("inspect", "-f", format, "app").Must(t) }

	d.Sampan("recreate", "--image", "next:1", "-e", "B=3", "--env-rm", "A", "-l", "tier=back", "app").Must(t)
	if got := inspect("{{.Id}}"); got == id {
		t.Error("it is the same container")
	}
	for _, tc := range [][2]string{
		{"{{.Config.Image}} {{.State.Status}} {{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}} {{.Config.StopTimeout}}", "next:1 running 67108864 always 0"},
		{`{{index .Config.Labels "tier"}} {{index .Config.Labels "from"}}`, "back image"},
		{"{{len .Mounts}} {{len .NetworkSettings.Networks}}", "2 1"},
	} {
		if got := inspect(tc[0]); got != tc[1] {
			t.Errorf("%s: %q, want %q", tc[0], got, tc[1])
		}
	}
	if got := d.Sampan("exec", "app", "sh", "-c", "echo $B $NEW; cat /anon/f /named/f").Must(t); got != "3 image\nkept\nkept" {
		t.Errorf("inside: %q", got)
	}
	if got := inspect("{{(index .NetworkSettings.Networks.net1.Aliases 0)}}"); got != "web" {
		t.Errorf("alias %q", got)
	}
	// One that cannot start leaves the old one as it was.
	before := inspect("{{.Id}}")
	if r := d.Sampan("recreate", "-v", "/no/such/dir/on/the/host:/x:ro,badoption", "app"); r.Code == 0 {
		t.Error("a mount with a wrong option was taken")
	}
	if r := d.Sampan("recreate", "--image", "nosuch:1", "app"); r.Code == 0 {
		t.Error("a missing image was taken")
	}
	if got := inspect("{{.Id}} {{.Name}} {{.State.Running}}"); got != before+" /app true" {
		t.Errorf("after failures: %q, want %s", got, before)
	}
	if got := len(strings.Fields(d.Sampan("ps", "-aq").Must(t))); got != 1 {
		t.Errorf("%d containers", got)
	}
	d.Sampan("update", "-e", "C=4", "-l", "tier=middle", "-m", "96m", "--memory-swap", "-1", "app").Must(t)
	if got := inspect(`{{.Config.Image}} {{.HostConfig.Memory}} {{index .Config.Labels "tier"}}`) + " " + d.Sampan("exec", "app", "sh", "-c", "echo $B$C").Must(t); got != "next:1 100663296 middle 34" {
		t.Errorf("after update: %q", got)
	}
	d.Sampan("stop", "app").Must(t)
	d.Sampan("recreate", "--volume-rm", "/named", "app").Must(t)
	if got := inspect("{{.State.Status}} {{len .Mounts}}"); got != "created 1" {
		t.Errorf("a stopped one: %q", got)
	}
	d.Sampan("rm", "-fv", "app").Must(t)
	d.Sampan("network", "rm", "net1").Must(t)
	d.Sampan("volume", "prune", "-af").Must(t)
	d.Sampan("rmi", "next:1").Must(t)
}
