package ociruntime

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func bindMount(source, to string) specs.Mount {
	return specs.Mount{Destination: to, Type: "bind", Source: source, Options: []string{"rbind"}}
}

// criuWorks skips where the installed criu cannot work with the kernel: on the machine of
// `make test`, whose kernel is newer than Debian's criu. The virtual machine of
// `make test-vm` has one that it knows.
func criuWorks(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("criu"); err != nil {
		t.Skip("no criu: install the Debian package criu")
	}
	if out, err := exec.Command("criu", "check").CombinedOutput(); err != nil {
		t.Skipf("criu does not work on this kernel (make test-vm runs this where it does): %s", strings.SplitN(string(out), "\n", 2)[0])
	}
}

// TestCheckpointRefused: where criu does not work, its own words are in the error, with
// its log, and the container goes on.
func TestCheckpointRefused(t *testing.T) {
	if _, err := exec.LookPath("criu"); err != nil {
		t.Skip("no criu: install the Debian package criu")
	}
	if exec.Command("criu", "check").Run() == nil {
		t.Skip("criu works on this kernel: nothing is refused")
	}
	l := newLab(t, ours)
	l.write(base("sleep 1000"))
	id := l.id()
	l.ok("run", "-d", id)
	images := t.TempDir()
	r := l.call("checkpoint", "--image-path", images, id)
	log := filepath.Join(images, "dump.log")
	if r.code != 1 || !strings.Contains(r.err, "checkpoint container "+id+": criu failed: type dump: ") || !strings.HasSuffix(r.err, "; log file: "+log) {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
	// The reason is one that criu has written into its log.
	_, reason, _ := strings.Cut(r.err, "type dump: ")
	reason, _, _ = strings.Cut(reason, " (")
	if text, err := os.ReadFile(log); err != nil || reason == "" || !strings.Contains(string(text), reason) {
		t.Errorf("%q is not in criu's log: %v\n%s", reason, err, text)
	}
	if status := l.status(id); status != "running" {
		t.Errorf("the container is %q", status)
	}
	o := l.another()
	o.state = t.TempDir()
	left := o.nothingLeft(id + "r")
	o.refused("restore container "+id+"r: criu failed: type restore: ", "restore", "--image-path", images, id+"r")
	left()
	l.ok("kill", id, "KILL")
	until(t, "its end", func() bool { return l.status(id) == "stopped" })
	l.refused("cannot be checkpointed in stopped state", "checkpoint", "--image-path", images, id)
	other := l.id()
	l.ok("create", other)
	l.refused("cannot be checkpointed in created state", "checkpoint", "--image-path", images, other)
}

// counter counts in a file of its root as fast as a person would.
const counter = `i=0; while :; do i=$((i+1)); echo $i >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.1; done`

// count reads what it has come to.
func (l *lab) count() int {
	data, _ := os.ReadFile(l.path("tmp/n"))
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// counts waits until the count is beyond n.
func (l *lab) counts(n int) int {
	l.t.Helper()
	until(l.t, fmt.Sprintf("a count beyond %d", n), func() bool { return l.count() > n })
	return l.count()
}

// stands makes sure that nobody counts.
func (l *lab) stands() int {
	l.t.Helper()
	n := l.count()
	time.Sleep(time.Second)
	if l.count() != n {
		l.t.Error("the container counts on")
	}
	return n
}

// another is a second bundle with a root of its own, as after a move to another machine.
func (l *lab) another() *lab {
	l.t.Helper()
	o := newLab(l.t, l.bin)
	o.state = l.state
	data, err := os.ReadFile(filepath.Join(l.bundle, "config.json"))
	must(l.t, err)
	must(l.t, os.WriteFile(filepath.Join(o.bundle, "config.json"), data, 0o644))
	return o
}

// detached calls with pipes for the container's output, as engines do: runc's dump wants
// no files of the host there.
func (l *lab) detached(args ...string) result {
	l.t.Helper()
	out := pipes(l.t)
	r := l.callWith(func(c *exec.Cmd) { c.Stdout, c.Stderr = out[1], out[1] }, "", args...)
	out[1].Close()
	if r.code != 0 {
		must(l.t, out[0].SetReadDeadline(time.Now().Add(time.Second)))
		text, _ := io.ReadAll(out[0])
		r.err = string(text)
		if args[0] == "run" {
			l.t.Fatalf("%q: exit code %d: %s", args, r.code, r.err)
		}
	}
	return r
}

// restored restores detached.
func (l *lab) restored(id string, args ...string) {
	l.t.Helper()
	r := l.detached(append(append([]string{"restore", "-d"}, args...), id)...)
	if r.code != 0 {
		l.t.Fatalf("restore: exit code %d: %s\n%s", r.code, r.err, criuErrors(args))
	}
}

// criuErrors shows criu's log for a failed test.
func criuErrors(args []string) (text string) {
	for _, arg := range args {
		for _, name := range []string{"dump.log", "restore.log"} {
			data, _ := os.ReadFile(filepath.Join(arg, name))
			for line := range strings.Lines(string(data)) {
				if strings.Contains(line, "Error") || strings.Contains(line, "Warn") {
					text += line
				}
			}
		}
	}
	return text
}

// checkpoints are the cases of TestCheckpoint: each gets a lab and says what it saw.
// Debian's runc is given the same; where it says otherwise, differs tells why.
var checkpoints = []struct {
	name    string
	differs string
	do      func(l *lab) string
}{
	{"the count goes on under another id and in another bundle", "", func(l *lab) string {
		l.write(base(counter))
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(3)
		images := l.t.TempDir()
		l.ok("checkpoint", "--image-path", images, id)
		n := l.stands()
		gone := l.status(id)
		o := l.another()
		must(l.t, os.WriteFile(o.path("tmp/n"), nil, 0o644))
		o.restored(id+"r", "--image-path", images)
		if first := o.counts(0); first < n {
			l.t.Errorf("it counted from %d, and was at %d", first, n)
		}
		again := o.counts(n + 2)
		_ = again
		l.stands() // the first bundle is left alone
		out := o.ok("exec", id+"r", "hostname")
		o.ok("delete", "--force", id+"r")
		return fmt.Sprint("gone:", gone, " host:", out)
	}},
	{"leave running", "", func(l *lab) string {
		l.write(base(counter))
		id := l.id()
		l.detached("run", "-d", id)
		n := l.counts(2)
		images := l.t.TempDir()
		l.ok("checkpoint", "--leave-running", "--image-path", images, id)
		l.counts(n + 3)
		status := l.status(id)
		l.ok("delete", "--force", id)
		l.restored(id, "--image-path", images)
		l.counts(l.count() + 2)
		return status
	}},
	{"pre-dump", "", func(l *lab) string {
		l.write(base(counter))
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(2)
		parent := l.t.TempDir()
		l.ok("checkpoint", "--pre-dump", "--image-path", filepath.Join(parent, "one"), id)
		status := l.status(id)
		l.counts(l.count() + 2)
		two := filepath.Join(parent, "two")
		l.ok("checkpoint", "--parent-path", "../one", "--image-path", two, id)
		n := l.stands()
		l.restored(id, "--image-path", two)
		l.counts(n + 2)
		link, err := os.Readlink(filepath.Join(two, "parent"))
		return fmt.Sprint(status, " ", link, " ", err)
	}},
	{"page server", "", func(l *lab) string {
		images := l.t.TempDir()
		server := exec.Command("criu", "page-server", "--images-dir", images, "--port", "27500", "--address", "127.0.0.1")
		must(l.t, server.Start())
		defer server.Wait()
		defer server.Process.Kill()
		until(l.t, "the page server", func() bool {
			data, _ := os.ReadFile("/proc/net/tcp")
			return strings.Contains(string(data), ":6B6C ")
		})
		l.write(base(counter))
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(2)
		l.ok("checkpoint", "--page-server", "127.0.0.1:27500", "--image-path", images, id)
		n := l.stands()
		l.restored(id, "--image-path", images)
		l.counts(n + 2)
		return l.status(id)
	}},
	{"connections", "", func(l *lab) string {
		s := base(`nc -l -p 7000 -e cat & sleep 0.5
			mkfifo /tmp/in; (i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done) >/tmp/in & 
			nc 127.0.0.1 7000 </tmp/in | while read i; do echo $i >/tmp/n.new; mv /tmp/n.new /tmp/n; done`)
		without(s, specs.NetworkNamespace)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: netns(l.t)})
		l.write(s)
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(3)
		images := l.t.TempDir()
		refused := l.call("checkpoint", "--image-path", images, id).code
		l.counts(l.count() + 1) // it goes on after that
		l.ok("checkpoint", "--tcp-established", "--image-path", images, id)
		n := l.stands()
		// Criu's rules hold the packets in the old network; engines make another one.
		s.Linux.Namespaces[len(s.Linux.Namespaces)-1].Path = netns(l.t)
		l.write(s)
		l.restored(id, "--tcp-established", "--image-path", images)
		l.counts(n + 3)
		return fmt.Sprint("without the flag ", refused)
	}},
	{"file locks", "", func(l *lab) string {
		data, err := os.ReadFile("/usr/bin/flock")
		must(l.t, err)
		must(l.t, os.WriteFile(l.path("bin/flock"), data, 0o755))
		s := base(`flock /tmp/lock sh -c '` + counter + `'`)
		for _, dir := range []string{"/lib", "/lib64", "/usr/lib"} {
			source, err := filepath.EvalSymlinks(dir) // runc's restore takes a link for what it is
			must(l.t, err)
			s.Mounts = append(s.Mounts, bindMount(source, dir))
		}
		l.write(s)
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(2)
		images := l.t.TempDir()
		refused := l.call("checkpoint", "--image-path", images, id).code
		l.ok("checkpoint", "--file-locks", "--image-path", images, id)
		n := l.stands()
		l.restored(id, "--file-locks", "--image-path", images)
		l.counts(n + 2)
		held := l.call("exec", id, "flock", "-n", "/tmp/lock", "true").code
		return fmt.Sprint("without the flag ", refused, ", held ", held)
	}},
	{"exit code and signals", "", func(l *lab) string {
		l.write(base(`trap 'exit 7' TERM; ` + counter))
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(2)
		images := l.t.TempDir()
		l.ok("checkpoint", "--image-path", images, id)
		n := l.stands()
		done := make(chan result, 1)
		file := filepath.Join(images, "pid")
		go func() { done <- l.detached("restore", "--pid-file", file, "--image-path", images, id) }()
		l.counts(n + 2)
		pid, err := os.ReadFile(file)
		must(l.t, err)
		l.ok("kill", id, "TERM")
		r := <-done
		number, _ := strconv.Atoi(string(pid))
		return fmt.Sprint("code ", r.code, ", status ", l.status(id), ", pid file ", number > 1)
	}},
	{"mounts, masks and limits", "with control groups of version 2 it puts what it restores into the group that was saved, so the limits of the new one do not hold", func(l *lab) string {
		source := l.t.TempDir()
		must(l.t, os.WriteFile(filepath.Join(source, "f"), []byte("of the host"), 0o644))
		s := base(counter)
		s.Mounts = append(s.Mounts, bindMount(source, "/mnt/deep"), bindMount(filepath.Join(source, "f"), "/etc/one"))
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr(int64(50))}
		l.write(s)
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(2)
		look := `cut -d" " -f5 /proc/self/mountinfo | sort | uniq; cat /mnt/deep/f /etc/one; ls /sys/firmware | wc -l; wc -c </proc/keys; touch /proc/sys/x 2>/dev/null || echo read-only; grep -E 'Cap|Seccomp:' /proc/1/status; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true`
		before := l.ok("exec", id, "sh", "-c", look)
		images := l.t.TempDir()
		l.ok("checkpoint", "--image-path", images, id)
		o := l.another()
		must(l.t, os.WriteFile(o.path("tmp/n"), nil, 0o644))
		o.restored(id+"r", "--image-path", images)
		o.counts(1)
		after := o.ok("exec", id+"r", "sh", "-c", look)
		if before != after {
			l.t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		o.ok("delete", "--force", id+"r")
		return fmt.Sprint(strings.Contains(after, "of the hostof the host"))
	}},
	{"a frozen one", "", func(l *lab) string {
		l.write(base(counter))
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(2)
		l.ok("pause", id)
		images := l.t.TempDir()
		l.ok("checkpoint", "--image-path", images, id)
		n := l.stands()
		l.restored(id, "--image-path", images)
		l.counts(n + 2)
		return l.status(id)
	}},
	{"standard input and output", "", func(l *lab) string {
		l.write(base(`while read x; do echo "got $x"; done; exit 3`))
		id := l.id()
		in, out := pipes(l.t), pipes(l.t)
		r := l.callWith(func(c *exec.Cmd) { c.Stdin, c.Stdout, c.Stderr = in[0], out[1], out[1] }, "", "run", "-d", id)
		if r.code != 0 {
			l.t.Fatal(r.err)
		}
		say := func(in, out [2]*os.File, text string) string {
			_, err := in[1].WriteString(text + "\n")
			must(l.t, err)
			buf := make([]byte, 100)
			must(l.t, out[0].SetReadDeadline(time.Now().Add(limit)))
			n, err := out[0].Read(buf)
			must(l.t, err)
			return strings.TrimSpace(string(buf[:n]))
		}
		first := say(in, out, "one")
		images := l.t.TempDir()
		l.ok("checkpoint", "--image-path", images, id)
		in, out = pipes(l.t), pipes(l.t)
		done := make(chan result, 1)
		go func() {
			done <- l.callWith(func(c *exec.Cmd) { c.Stdin, c.Stdout, c.Stderr = in[0], out[1], out[1] }, "", "restore", "--image-path", images, id)
		}()
		second := say(in, out, "two")
		in[0].Close()
		in[1].Close()
		return fmt.Sprint(first, ", ", second, ", code ", (<-done).code)
	}},
	{"a terminal", "", func(l *lab) string {
		s := base(`while read x; do echo "got $x"; done`)
		s.Process.Terminal = true
		l.write(s)
		id := l.id()
		socket := filepath.Join(l.t.TempDir(), "tty")
		master := received(l.t, socket)
		l.ok("run", "-d", "--console-socket", socket, id)
		tty := master()
		talk := func(tty *os.File, text string) string {
			_, err := tty.WriteString(text + "\n")
			must(l.t, err)
			var all string
			buf := make([]byte, 100)
			for !strings.Contains(all, "got "+text) {
				n, err := tty.Read(buf)
				must(l.t, err)
				all += string(buf[:n])
			}
			return "got " + text
		}
		first := talk(tty, "one")
		images := l.t.TempDir()
		l.ok("checkpoint", "--image-path", images, id)
		tty.Close()
		socket += "2"
		master = received(l.t, socket)
		l.restored(id, "--console-socket", socket, "--image-path", images)
		tty = master()
		defer tty.Close()
		return first + ", " + talk(tty, "two")
	}},
	{"hooks", "", func(l *lab) string {
		file := filepath.Join(l.t.TempDir(), "hooks")
		s := base(counter)
		s.Hooks = &specs.Hooks{
			//lint:ignore SA1019 deprecated, and still a part of the specification
			Prestart:      []specs.Hook{hookAt("echo prestart >>" + file)},
			CreateRuntime: []specs.Hook{hookAt("echo createRuntime >>" + file)},
			Poststop:      []specs.Hook{hookAt("echo poststop >>" + file)},
		}
		l.write(s)
		id := l.id()
		l.detached("run", "-d", id)
		l.counts(1)
		images := l.t.TempDir()
		l.ok("checkpoint", "--image-path", images, id)
		l.restored(id, "--image-path", images)
		l.ok("delete", "--force", id)
		data, err := os.ReadFile(file)
		must(l.t, err)
		return strings.Join(strings.Fields(string(data)), " ")
	}},
}

// A container that counts into a file, and a shell function that waits for a number there.
const (
	count = `sh -c 'i=0; while :; do i=$((i+1)); echo $i >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.1; done'`
	wait  = `w() { for i in $(seq 60); do test "$($1 cat /tmp/n 2>/dev/null || echo 0)" -gt $2 && return; sleep 0.2; done; echo "no count beyond $2"; }; `
)

// TestCheckpointByCallers: podman and containerd save and restore with both runtimes.
func TestCheckpointByCallers(t *testing.T) {
	criuWorks(t)
	theirs := runc(t)
	all := callers()
	podman, containerd := all["podman"], all["containerd"]
	podman.steps = []string{
		"$P run -d --name c --network none box " + count + " >/dev/null",
		wait + `w "$P exec c" 3; $P exec c cat /tmp/n >$D/n`,
		"$P container checkpoint c >/dev/null; $P inspect -f '{{.State.Status}} {{.State.Checkpointed}}' c",
		"$P container restore c >/dev/null; $P inspect -f '{{.State.Status}} {{.State.Restored}}' c",
		wait + `w "$P exec c" $(cat $D/n)`,
		"$P container checkpoint --leave-running c >/dev/null; $P inspect -f '{{.State.Status}}' c",
		"$P container checkpoint --export $D/c.tar c >/dev/null; $P rm c >/dev/null; $P exec c true 2>/dev/null",
		"$P container restore --import $D/c.tar --name d >/dev/null; $P inspect -f '{{.State.Status}}' d",
		wait + `w "$P exec d" $(cat $D/n)`,
		"$P kill d >/dev/null; $P wait d",
	}
	containerd.begin += `; mkdir $D/img; tar -C $D/rootfs -cf $D/img/l.tar .; s=$(sha256sum $D/img/l.tar | cut -d' ' -f1)
		echo '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:'$s'"]}}' >$D/img/c.json
		echo '[{"Config":"c.json","RepoTags":["docker.io/library/box:1"],"Layers":["l.tar"]}]' >$D/img/manifest.json
		tar -C $D/img -cf $D/i.tar manifest.json c.json l.tar; $C image import $D/i.tar >/dev/null
		N="$C run -d --snapshotter native --runc-binary $RT --runtime io.containerd.runc.v2 --env PATH=/bin docker.io/library/box:1"
		x() { $C t exec --exec-id x$RANDOM "$@"; }`
	containerd.steps = []string{
		"$N k " + count,
		wait + `w "x k" 3; x k cat /tmp/n >$D/n`,
		"$C c checkpoint --rw --task --image k docker.io/library/ck:1; $C t ls | awk '/^k/{print $3}'",
		"$C t kill -s KILL k; sleep 1; $C c rm k",
		"$C c restore --live --rw q docker.io/library/ck:1 >/dev/null 2>&1 & sleep 8; $C t ls | awk '/^q/{print $3}'",
		wait + `w "x q" $(cat $D/n)`,
		"$C t kill -s KILL q; sleep 1; $C t ls -q",
	}
	// Where both did nothing they would agree as well.
	for name, tc := range map[string]struct {
		caller
		step int
	}{"podman": {podman, 3}, "containerd": {containerd, 4}} {
		t.Run(name, func(t *testing.T) {
			results := tc.compare(t, theirs)
			if restored := strings.ToLower(results[tc.step]); !strings.Contains(restored, "running") {
				t.Errorf("the restored container is %q", restored)
			}
		})
	}
}

// TestDockerCheckpoint: so does Docker.
func TestDockerCheckpoint(t *testing.T) {
	criuWorks(t)
	theirs := runc(t)
	docker := callers()["docker"]
	docker.begin = strings.Replace(docker.begin, "dockerd ", "dockerd --experimental ", 1)
	docker.steps = []string{
		"$K run -d --runtime other --network none --name cc box " + count + " >/dev/null",
		wait + `w "$K exec cc" 3; $K exec cc cat /tmp/n >$D/n`,
		"$K checkpoint create --leave-running cc zero; $K inspect -f '{{.State.Status}}' cc",
		"$K checkpoint create cc one; $K wait cc; $K inspect -f '{{.State.Status}}' cc",
		"$K checkpoint ls cc",
		"$K start --checkpoint one cc; $K inspect -f '{{.State.Status}}' cc",
		wait + `w "$K exec cc" $(cat $D/n)`,
		"$K checkpoint rm cc zero; $K checkpoint ls cc",
		"$K kill cc >/dev/null; $K wait cc; $K rm cc >/dev/null; $K ps -aq",
	}
	results := docker.compare(t, theirs)
	// Where both did nothing they would agree as well.
	if results[0] != "exit code 0" {
		t.Fatalf("no container to save: %s", results[0])
	}
	if restored := results[5]; !strings.Contains(restored, "running") {
		t.Errorf("the restored container is %q", restored)
	}
}

// netns makes a network namespace with a loopback, as an engine does, and returns its path.
func netns(t testing.TB) string {
	t.Helper()
	holder := exec.Command("unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 1000")
	out, err := holder.StdoutPipe()
	must(t, err)
	must(t, holder.Start())
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	_, err = out.Read(make([]byte, 3))
	must(t, err)
	return fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)
}

// pipes makes a pipe that can be waited at with a deadline.
func pipes(t testing.TB) [2]*os.File {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return [2]*os.File{r, w}
}

// TestCheckpoint: processes are saved and go on, with our runtime and beside Debian's runc.
func TestCheckpoint(t *testing.T) {
	criuWorks(t)
	theirs, _ := exec.LookPath("runc")
	for _, c := range checkpoints {
		t.Run(c.name, func(t *testing.T) {
			var results [2]string
			for i, bin := range []string{ours, theirs} {
				if bin == "" {
					t.Log("no runc to compare with: install the Debian package runc")
					continue
				}
				name := []string{"ours", "runc"}[i]
				if i == 1 && c.differs != "" {
					t.Log("runc: " + c.differs)
					continue
				}
				t.Run(name, func(t *testing.T) {
					l := newLab(t, bin)
					left := l.nothingLeft("sampan-oci-") // runc leaves the group of the one that was saved
					results[i] = c.do(l)
					l.clean()
					if i == 0 {
						left()
					}
				})
			}
			t.Log(results[0])
			if c.differs == "" && theirs != "" && results[0] != results[1] {
				t.Errorf("ours: %s\nrunc: %s", results[0], results[1])
			}
		})
	}
	var st unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &st) == nil {
		t.Logf("control groups of type %#x", st.Type)
	}
}
