package ociruntime

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The user without root's rights in these tests: uid and gid 1000, with the ids from
// 100,000 on as his own. He exists in a mount namespace of each command only.
const (
	userID   = 1000
	subFirst = 100000
)

// rootlessLab is a lab that belongs to the user.
type rootlessLab struct {
	*lab
	enter string // shell commands, as root, in the mount namespace of each call
	env   []string
}

func newRootlessLab(t *testing.T, bin string) *rootlessLab {
	t.Helper()
	l := &rootlessLab{lab: newLab(t, bin)}
	for _, program := range []string{"setpriv", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s: install the Debian package util-linux", program)
		}
	}
	if data, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil && strings.TrimSpace(string(data)) == "0" {
		t.Skip("user.max_user_namespaces is 0 on this machine")
	}
	// The test's own directory of programs is root's.
	own := filepath.Join(l.bundle, filepath.Base(bin))
	data, err := os.ReadFile(bin)
	must(t, err)
	must(t, os.WriteFile(own, data, 0o755))
	l.bin = own
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\nsomebody:x:1000:1000::/:/bin/sh\n", "group": "root:x:0:\nsomebody:x:1000:\n",
		"subuid": fmt.Sprintf("somebody:%d:65536\n", subFirst),
	} {
		must(t, os.WriteFile(filepath.Join(l.bundle, name), []byte(text), 0o644))
	}
	must(t, os.Chmod(filepath.Dir(l.bundle), 0o755))
	must(t, os.Chmod(l.state, 0o700))
	l.own()
	l.enter = fmt.Sprintf("B=%s; mount --bind $B/passwd /etc/passwd && mount --bind $B/group /etc/group && mount --bind $B/subuid /etc/subuid && mount --bind $B/subuid /etc/subgid\n", l.bundle)
	l.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "XDG_RUNTIME_DIR=" + l.state}
	t.Cleanup(func() { // before that of the lab, which is root's
		entries, _ := os.ReadDir(filepath.Join(l.state, "sampan-runtime"))
		for _, e := range entries {
			l.as("delete", "--force", e.Name())
		}
	})
	return l
}

// own gives the user what lies in the bundle.
func (l *rootlessLab) own() {
	for _, dir := range []string{l.bundle, l.state} {
		must(l.t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, userID, userID)
		}))
	}
}

// command is the runtime, called by the user.
func (l *rootlessLab) command(args ...string) []string {
	script := l.enter + `exec setpriv --reuid ` + fmt.Sprint(userID) + ` --regid ` + fmt.Sprint(userID) + ` --clear-groups "$@"`
	return append([]string{"unshare", "-m", "sh", "-c", script, "sh", l.bin}, args...)
}

func (l *rootlessLab) as(args ...string) result {
	l.t.Helper()
	return l.asWith("", args...)
}

func (l *rootlessLab) asWith(input string, args ...string) result {
	l.t.Helper()
	return l.callWith(func(cmd *exec.Cmd) {
		all := l.command(args...)
		path, err := exec.LookPath(all[0])
		must(l.t, err)
		cmd.Path, cmd.Args, cmd.Env = path, all, l.env
	}, input)
}

func (l *rootlessLab) fine(args ...string) string {
	l.t.Helper()
	r := l.as(args...)
	if r.code != 0 {
		l.t.Fatalf("%q: exit code %d: %s", args, r.code, r.err)
	}
	return r.out
}

// userSpec is what `spec --rootless` writes, for a shell script.
func userSpec(script string) *specs.Spec {
	s := base(script)
	without(s, specs.NetworkNamespace)
	without(s, specs.CgroupNamespace)
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: userID, Size: 1}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
	s.Linux.Resources = nil
	for i := range s.Mounts {
		switch s.Mounts[i].Destination {
		case "/sys":
			s.Mounts[i] = specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
		case "/dev/pts":
			s.Mounts[i].Options = []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
		}
	}
	return s
}

// moreIDs maps the user's further ids as well.
func moreIDs(s *specs.Spec) {
	s.Linux.UIDMappings = append(s.Linux.UIDMappings[:1:1], specs.LinuxIDMapping{ContainerID: 1, HostID: subFirst, Size: 65536})
	s.Linux.GIDMappings = s.Linux.UIDMappings
}

func mountOf(s *specs.Spec, at string) *specs.Mount {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == at {
			return &s.Mounts[i]
		}
	}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: at})
	return &s.Mounts[len(s.Mounts)-1]
}

// rootlessCase is a container of a user.
type rootlessCase struct {
	script  string
	change  func(*specs.Spec)
	fails   string // what ours says; runc fails too
	differs string // why runc does otherwise
}

func rootlessCases() map[string]rootlessCase {
	return map[string]rootlessCase{
		"ids":                      {script: "id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep -E '^(Uid|Gid|Cap|NoNewPrivs)' /proc/self/status"},
		"further ids by newuidmap": {script: "id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups", change: moreIDs},
		"another user inside":      {script: "id; touch /tmp/x; ls -ln /tmp", change: func(s *specs.Spec) { moreIDs(s); s.Process.User.UID, s.Process.User.GID = 5, 6 }},
		"processes":                {script: "set -- /proc/[0-9]*; echo $#; cat /proc/1/comm"},
		"devices":                  {script: "stat -c '%n %F %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/pts/ptmx; echo x >/dev/null; head -c 4 /dev/zero | wc -c"},
		"a device of the host": {script: "stat -c '%n %F %t:%T' /dev/fuse", change: func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}}
		}},
		"no device is made": {script: "mknod /dev/x c 1 3 2>/dev/null || echo refused", change: func(s *specs.Spec) {
			s.Process.Capabilities.Effective = append(s.Process.Capabilities.Effective, "CAP_MKNOD")
			s.Process.Capabilities.Permitted = s.Process.Capabilities.Effective
			s.Process.Capabilities.Bounding = s.Process.Capabilities.Effective
		}},
		"mounts":                     {script: "awk '$5 !~ /cgroup|tracing|kernel/ {print $5, $6}' /proc/self/mountinfo | grep -E '^/(proc|dev|dev/pts|dev/shm|sys) ' | sort -u"},
		"control groups are shown":   {script: "ls /sys/fs/cgroup | grep -E '^(cpu|memory|pids)$'; mkdir /sys/fs/cgroup/pids/x 2>&1 | grep -o Read-only"},
		"hidden and read-only paths": {script: "wc -c </proc/keys; ls /sys/firmware | wc -l; touch /proc/sys/kernel/hostname 2>/dev/null || echo refused"},
		"a network of its own": {script: "ls /sys/class/net; ip link show lo | grep -o UP | head -1; awk '$5==\"/sys\"{print $6}' /proc/self/mountinfo", change: func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
			*mountOf(s, "/sys") = specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro", "nosuid", "noexec", "nodev"}}
		}},
		"sysfs of the host's network": {script: "ls /sys/class/net | wc -l; touch /sys/x 2>/dev/null || echo refused", change: func(s *specs.Spec) {
			*mountOf(s, "/sys") = specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}}
		}, differs: "no new sysfs can show a network namespace of the host's; the host's own is bound, as podman and spec --rootless ask for; runc fails"},
		"the host's processes": {script: "test $(ls /proc | grep -c '^[0-9]') -gt 2 && echo many", change: func(s *specs.Spec) {
			without(s, specs.PIDNamespace)
			mountOf(s, "/proc").Type, mountOf(s, "/proc").Source, mountOf(s, "/proc").Options = "bind", "/proc", []string{"rbind"}
		}},
		"a bind mount": {script: "cat /mnt/passwd | head -1; awk '$5==\"/mnt\"{print $6}' /proc/self/mountinfo; touch /mnt/x 2>/dev/null || echo refused", change: func(s *specs.Spec) {
			*mountOf(s, "/mnt") = specs.Mount{Destination: "/mnt", Type: "bind", Source: "rootfs/etc", Options: []string{"rbind", "ro", "nosuid"}}
		}},
		"a read-only root": {script: "touch /x 2>/dev/null || echo refused", change: func(s *specs.Spec) { s.Root.Readonly = true }},
		"a sysctl": {script: "cat /proc/sys/net/ipv4/ip_forward", change: func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
			*mountOf(s, "/sys") = specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs"}
		}},
		"a seccomp profile": {script: "mkdir /tmp/d 2>&1; grep Seccomp: /proc/self/status", change: func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActErrno}}}
		}},
		"a lower limit": {script: "ulimit -n; ulimit -Hn", change: func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 77, Hard: 88}}
		}},
		"exit code": {script: "exit 7"},
		"a signal":  {script: "kill -9 $$"},
		"a hook": {script: "cat /hook", change: func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo hooked >rootfs/hook"}}}}
		}},
		"no user namespace": {change: func(s *specs.Spec) {
			without(s, specs.UserNamespace)
			s.Linux.UIDMappings, s.Linux.GIDMappings = nil, nil
		}, fails: "rootless container requires user namespaces"},
		"no map":               {change: func(s *specs.Spec) { s.Linux.UIDMappings = nil }, fails: "uidMappings"},
		"ids of somebody else": {change: func(s *specs.Spec) { moreIDs(s); s.Linux.UIDMappings[1].HostID = 300000 }, fails: "uids 300000 to 365535 are not somebody's: /etc/subuid has 100000 to 165535"},
		"the whole machine's root": {change: func(s *specs.Spec) {
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1}}
		}, fails: "uidMappings must make root of the user who calls"},
		"a limit without a group": {change: func(s *specs.Spec) {
			s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))}}
		}, fails: "container could not join or create cgroup"},
		"a group of his choice":    {change: func(s *specs.Spec) { s.Linux.CgroupsPath = "/ociruntime-forbidden" }, fails: "permission denied"},
		"groups with a single id":  {change: func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{5} }, fails: "cannot set any additional groups in a rootless container"},
		"a user who is not mapped": {change: func(s *specs.Spec) { s.Process.User.UID = 5 }, fails: "not in the user namespace's map"},
		"groups with further ids":  {script: "id -G", change: func(s *specs.Spec) { moreIDs(s); s.Process.User.AdditionalGids = []uint32{5} }, differs: "runc refuses additional groups of a user even where newgidmap leaves setgroups allowed"},
		"a limit above the user's own": {script: "ulimit -n", change: func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 50, Hard: 1 << 29}}
		}, differs: "a hard limit that cannot be raised stays, with a warning, as for root without CAP_SYS_RESOURCE; runc fails"},
		"a lower OOM score": {script: "test $(cat /proc/self/oom_score_adj) -ge 0 && echo stays", change: func(s *specs.Spec) { s.Process.OOMScoreAdj = ptr(-500) }, differs: "a score that cannot be lowered stays, with a warning, as for root without CAP_SYS_RESOURCE; runc fails"},
	}
}

// TestRootlessAsRunc: a user gets from both runtimes the same container.
func TestRootlessAsRunc(t *testing.T) {
	for name, c := range rootlessCases() {
		t.Run(name, func(t *testing.T) {
			run := func(bin string) result {
				l := newRootlessLab(t, bin)
				s := userSpec(c.script)
				if c.change != nil {
					c.change(s)
				}
				l.write(s)
				l.own()
				return l.as("run", l.id())
			}
			mine := run(ours)
			switch {
			case c.fails != "":
				if mine.code != 1 || !strings.Contains(mine.err, c.fails) || strings.Contains(mine.err, "panic") {
					t.Errorf("exit code %d, %q; want a failure with %q", mine.code, mine.err, c.fails)
				}
			case c.differs != "":
				if mine.code != 0 || mine.out == "" {
					t.Errorf("exit code %d, %q, %q", mine.code, mine.out, mine.err)
				}
				t.Log("not compared: " + c.differs)
				return
			}
			if c.fails == "" && mine.out == "" && !strings.HasPrefix(c.script, "exit") && !strings.HasPrefix(c.script, "kill") {
				t.Errorf("exit code %d, %q", mine.code, mine.err)
			}
			theirs := run(runc(t))
			if mine.code != theirs.code || mine.out != theirs.out {
				t.Errorf("ours: exit code %d, %q, %q\nrunc: exit code %d, %q, %q", mine.code, mine.out, mine.err, theirs.code, theirs.out, theirs.err)
			}
		})
	}
}

// TestRootlessLife: every command that a user can give, and nothing is left.
func TestRootlessLife(t *testing.T) {
	l := newRootlessLab(t, ours)
	s := userSpec("sleep 1000 & exec sleep 1000")
	moreIDs(s)
	l.write(s)
	l.own()
	id := l.id()
	status := func() string {
		var s specs.State
		if r := l.as("state", id); r.code == 0 {
			must(t, json.Unmarshal([]byte(r.out), &s))
		}
		return string(s.Status)
	}
	l.fine("create", "--pid-file", "pid", id)
	if got := status(); got != "created" {
		t.Fatalf("after create: %q", got)
	}
	if st, err := os.Stat(filepath.Join(l.state, "sampan-runtime", id)); err != nil || st.Sys().(*syscall.Stat_t).Uid != userID {
		t.Fatalf("the record is not in the user's XDG_RUNTIME_DIR, or not his: %v", err)
	}
	l.fine("start", id)
	if got := status(); got != "running" {
		t.Fatalf("after start: %q", got)
	}
	if out := l.fine("list"); !strings.Contains(out, "somebody") {
		t.Errorf("list does not name the owner: %s", out)
	}
	until(t, "the second process", func() bool {
		var pids []int
		must(t, json.Unmarshal([]byte(l.fine("ps", "--format", "json", id)), &pids))
		return len(pids) == 2
	})
	for _, e := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"exec", id, "id", "-u"}, 0, "0"},
		{[]string{"exec", "--user", "5:6", "--cwd", "/tmp", "--env", "A=b", id, "sh", "-c", "id -u; id -g; pwd; echo $A"}, 0, "5\n6\n/tmp\nb"},
		{[]string{"exec", "--additional-gids", "9", id, "id", "-G"}, 0, "0 9"},
		{[]string{"exec", id, "sh", "-c", "exit 9"}, 9, ""},
		{[]string{"exec", id, "nosuch"}, 255, ""},
		{[]string{"exec", id, "readlink", "/proc/self/ns/user"}, 0, l.fine("exec", id, "readlink", "/proc/1/ns/user")},
		{[]string{"exec", "--detach", "--pid-file", "exec.pid", id, "sleep", "1000"}, 0, ""},
		{[]string{"kill", "--all", id, "0"}, 0, ""},
		{[]string{"delete", id}, 1, ""},
		// Without a group of its own on v1 there is nothing to freeze or to limit.
		{[]string{"pause", id}, 1, ""}, {[]string{"update", "--pids-limit", "5", id}, 1, ""}, {[]string{"events", "--stats", id}, 1, ""},
	} {
		r := l.as(e.args...)
		if r.code != e.code || r.out != e.out {
			t.Errorf("%q: exit code %d, %q, %q; want %d, %q", e.args, r.code, r.out, r.err, e.code, e.out)
		}
	}
	pid := strings.TrimSpace(string(read(t, filepath.Join(l.bundle, "pid"))))
	l.fine("kill", id, "KILL")
	until(t, "the end", func() bool { return status() == "stopped" })
	l.fine("delete", id)
	if r := l.as("state", id); r.code != 1 {
		t.Errorf("a deleted container has a state: %s", r.out)
	}
	if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("process %s is left: %s", pid, stat)
	}
	if left, _ := os.ReadDir(filepath.Join(l.state, "sampan-runtime")); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	must(t, err)
	return data
}

// TestRootlessMany: several at once, and a forced delete of each kind.
func TestRootlessMany(t *testing.T) {
	l := newRootlessLab(t, ours)
	l.write(userSpec("echo $$"))
	l.own()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if r := l.as("run", l.id()); r.code != 0 || r.out != "1" {
					t.Errorf("exit code %d, %q, %q", r.code, r.out, r.err)
				}
			}
		})
	}
	wg.Wait()
	l.write(userSpec("exec sleep 1000"))
	l.own()
	for _, verb := range [][]string{{"create"}, {"run", "--detach"}} {
		id := l.id()
		l.fine(append(verb, id)...)
		l.fine("delete", "--force", id)
	}
	if left, _ := os.ReadDir(filepath.Join(l.state, "sampan-runtime")); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
}

// TestRootlessRefused: what a machine can lack or forbid is named, and what to do.
func TestRootlessRefused(t *testing.T) {
	var empty string // a directory without newuidmap
	for name, c := range map[string]struct {
		change func(*specs.Spec)
		lab    func(*rootlessLab)
		says   []string
	}{
		"max_user_namespaces": {says: []string{"user.max_user_namespaces is 0", "sysctl -w"}, lab: func(*rootlessLab) {}},
		"no newuidmap":        {change: moreIDs, says: []string{"there is no newuidmap", "uidmap"}, lab: func(l *rootlessLab) { l.enter += "set -- env PATH=" + empty + " \"$@\"\n" }},
		"no line in subuid":   {change: moreIDs, says: []string{"/etc/subuid has no line for somebody", "usermod --add-subuids"}, lab: func(l *rootlessLab) { l.enter += "mount --bind /dev/null /etc/subuid\n" }},
		"no_new_privs":        {change: moreIDs, says: []string{"no_new_privs"}, lab: func(l *rootlessLab) { l.enter += "set -- setpriv --no-new-privs \"$@\"\n" }},
		"no XDG_RUNTIME_DIR":  {says: []string{"XDG_RUNTIME_DIR is not set", "--root"}, lab: func(l *rootlessLab) { l.env = l.env[:2] }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newRootlessLab(t, ours)
			empty = filepath.Join(l.bundle, "empty")
			must(t, os.Mkdir(empty, 0o755))
			s := userSpec("true")
			if c.change != nil {
				c.change(s)
			}
			l.write(s)
			l.own()
			c.lab(l)
			call := l.as
			if name == "max_user_namespaces" { // the limit is of a user namespace, so it is tried in one
				call = l.inLimitedNamespace
			}
			r := call("run", l.id())
			for _, want := range c.says {
				if r.code != 1 || !strings.Contains(r.err, want) {
					t.Errorf("exit code %d, %q; want a failure with %q", r.code, r.err, want)
				}
			}
		})
	}
}

// inLimitedNamespace calls as the user in a user namespace around in which there may be no
// others.
func (l *rootlessLab) inLimitedNamespace(args ...string) result {
	l.t.Helper()
	return l.callWith(func(cmd *exec.Cmd) {
		sh, err := exec.LookPath("sh")
		must(l.t, err)
		script := `echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"`
		cmd.Path, cmd.Env = sh, l.env
		cmd.Args = append([]string{"sh", "-c", script, "sh", l.bin}, args...)
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true}
	}, "")
}

// TestRootlessNested: where parts of /proc and /sys are hidden, as in a container, the
// kernel makes no new ones in a user namespace.
func TestRootlessNested(t *testing.T) {
	l := newRootlessLab(t, ours)
	l.enter += "mount --bind /dev/null /proc/timer_list && mount -t tmpfs tmpfs /sys/firmware\n"
	s := userSpec("cat /proc/self/comm; wc -c </proc/timer_list; ls /sys/firmware | wc -l; ls /sys/class/net; test -d /proc/1 && echo seen")
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	*mountOf(s, "/sys") = specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}}
	l.write(s)
	l.own()
	r := l.as("--log", "log", "run", l.id())
	if want := "cat\n0\n0\n"; r.code != 0 || !strings.HasPrefix(r.out, want) || !strings.HasSuffix(r.out, "seen") {
		t.Errorf("exit code %d, %q, %q", r.code, r.out, r.err)
	}
	if log := string(read(t, filepath.Join(l.bundle, "log"))); !strings.Contains(log, "level=warning") || !strings.Contains(log, "masked here") {
		t.Errorf("no warning that the processes around are seen: %s", log)
	}
}

// TestRootlessDelegated: a group that root gave to the user holds his containers and their
// limits; here on v1, one hierarchy of which is his.
func TestRootlessDelegated(t *testing.T) {
	l := newRootlessLab(t, ours)
	parent := fmt.Sprintf("/sys/fs/cgroup/pids/ociruntime-%d", os.Getpid())
	if err := os.Mkdir(parent, 0o755); err != nil {
		t.Skipf("no cgroup v1 hierarchy for pids, as on pure v2 (TestRootlessDelegatedUnified): %v", err)
	}
	t.Cleanup(func() { until(t, "the end of the group", func() bool { return os.Remove(parent) == nil }) })
	for _, name := range []string{"", "tasks", "cgroup.procs"} {
		must(t, os.Chown(filepath.Join(parent, name), userID, userID))
	}
	l.enter = "echo $$ >" + parent + "/cgroup.procs\n" + l.enter
	s := userSpec("exec sleep 1000")
	s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(33))}}
	l.write(s)
	l.own()
	id := l.id()
	l.fine("run", "--detach", id)
	group := parent + "/sampan-" + id
	if got := strings.TrimSpace(string(read(t, group+"/pids.max"))); got != "33" {
		t.Errorf("pids.max is %q", got)
	}
	l.fine("update", "--pids-limit", "44", id)
	if got := strings.TrimSpace(string(read(t, group+"/pids.max"))); got != "44" {
		t.Errorf("after the update pids.max is %q", got)
	}
	if out := l.fine("exec", id, "grep", ":pids:", "/proc/self/cgroup"); !strings.HasSuffix(out, "sampan-"+id) {
		t.Errorf("exec is in another group: %s", out)
	}
	l.fine("delete", "--force", id)
	if _, err := os.Stat(group); err == nil {
		t.Error("the group is left")
	}
	s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: ptr(int64(64 << 20))}
	l.write(s)
	if r := l.as("run", id); r.code != 1 || !strings.Contains(r.err, "memory limit of") {
		t.Errorf("a limit of another hierarchy: exit code %d, %q", r.code, r.err)
	}
	if left, _ := filepath.Glob(parent + "/*/"); len(left) > 0 {
		t.Errorf("groups are left: %q", left)
	}
}

// TestRootlessSpec: spec --rootless makes what runc makes of its own.
func TestRootlessSpec(t *testing.T) {
	spec := func(bin string) (s specs.Spec) {
		l := newRootlessLab(t, bin)
		l.fine("spec", "--rootless")
		must(t, json.Unmarshal(read(t, filepath.Join(l.bundle, "config.json")), &s))
		return s
	}
	mine, theirs := spec(ours), spec(runc(t))
	l := newRootlessLab(t, ours)
	l.refused("not true, false or auto", "--rootless", "frob", "list") // runc takes it for auto
	mine.Process.Terminal, mine.Process.Args = false, []string{"/bin/busybox", "id"}
	l.write(mine)
	l.own()
	if out := l.fine("run", l.id()); !strings.HasPrefix(out, "uid=0") {
		t.Errorf("what it wrote runs as %q", out)
	}
	mine.Process.Terminal, mine.Process.Args = theirs.Process.Terminal, theirs.Process.Args
	// On v1 too the container does not see where its groups lie.
	without(&mine, specs.CgroupNamespace)
	without(&theirs, specs.CgroupNamespace)
	// Version, name and the longer list of masked paths are ours.
	theirs.Version, theirs.Hostname, theirs.Linux.MaskedPaths = mine.Version, mine.Hostname, mine.Linux.MaskedPaths
	theirs.Process.Capabilities.Ambient = mine.Process.Capabilities.Ambient
	a, _ := json.MarshalIndent(mine, "", " ")
	b, _ := json.MarshalIndent(theirs, "", " ")
	if string(a) != string(b) {
		x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
		for i := range min(len(x), len(y)) {
			if x[i] != y[i] {
				t.Errorf("line %d: ours %q, runc %q", i+1, x[i], y[i])
				break
			}
		}
	}
}

// TestRootlessPodman: podman, called by the user, does the same with both runtimes.
func TestRootlessPodman(t *testing.T) {
	for _, p := range []string{"podman", "conmon", "newuidmap"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	steps := []string{
		"$R box id", "$R box cat /proc/self/uid_map", "$R box sh -c 'exit 7'", "$R box nosuch 2>/dev/null", "$R --user 5:6 box id", "$R --group-add 9 box id -G", "$R --userns keep-id box id -u", "$R --userns auto box id -u",
		"$R --read-only --tmpfs /tmp -v $B/rootfs/etc:/mnt:ro box sh -c 'touch /tmp/x; touch /x 2>/dev/null; touch /mnt/x 2>/dev/null || echo refused'", "$R --cap-drop all box grep CapEff /proc/self/status",
		"$R --pid host box true", "$P run --rm --network host box sh -c 'ls /sys/class/net | wc -l'", "$R -e A=b -w /tmp box sh -c 'echo $A; pwd'", "echo typed | $R -i box cat", "$R -t box tty",
		"$P run -d --name w --network none box sleep 1000 >/dev/null", "$P exec w id", "$P exec -u 5 w sh -c 'id -u; exit 9'", "$P exec -t w tty", "$P exec w nosuch 2>/dev/null", "$P ps --format '{{.Names}}'",
		"$P kill w >/dev/null; $P wait w", "$P start w >/dev/null; $P exec w echo again", "$P stop -t 0 w >/dev/null; $P inspect -f '{{.State.ExitCode}}' w", "$P rm w >/dev/null; $P ps -aq",
	}
	run := func(bin string) []string {
		l := newRootlessLab(t, bin)
		script := fmt.Sprintf(`export HOME=$B XDG_RUNTIME_DIR=%s; cd $B
printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n' >c.conf; export CONTAINERS_CONF=$B/c.conf
P="podman --root $B/store --runroot $XDG_RUNTIME_DIR/pod --runtime $RT --cgroup-manager cgroupfs --events-backend file --storage-driver vfs"
tar -C rootfs -c . | $P import - box >/dev/null 2>&1; R="$P run --rm --network none"
`, l.state)
		for _, s := range steps {
			script += "( " + s + " ) 2>/dev/null; echo \"exit code $?\"; echo '-- step --'\n"
		}
		script += "$P rm -fa >/dev/null 2>&1; podman unshare rm -rf store >/dev/null 2>&1\n" +
			"kill -9 $(find $XDG_RUNTIME_DIR -name pause.pid -exec cat {} +)\n" // podman keeps it for the next call
		must(t, os.WriteFile(filepath.Join(l.bundle, "script"), []byte(script), 0o644))
		rt := l.bin
		l.bin = "/bin/sh"
		l.enter += "export B=" + l.bundle + " RT=" + rt + "\n"
		r := l.as(filepath.Join(l.bundle, "script"))
		l.bin = rt
		return strings.SplitAfter(strings.TrimSuffix(r.out, "-- step --"), "-- step --\n")
	}
	mine, theirs := run(ours), run(runc(t))
	if len(mine) != len(steps) || len(theirs) != len(steps) {
		t.Fatalf("%d steps, of which ours came to %d and runc to %d:\n%s", len(steps), len(mine), len(theirs), strings.Join(mine, ""))
	}
	for i, step := range steps {
		if mine[i] != theirs[i] {
			t.Errorf("%s\nours: %s\nrunc: %s", step, mine[i], theirs[i])
		}
	}
	if !strings.Contains(mine[0], "uid=0") {
		t.Errorf("the first step printed %q", mine[0])
	}
}
