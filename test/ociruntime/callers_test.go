package ociruntime

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// caller is a program that calls runc. Its steps are lines of a shell script; what they
// print, and their exit codes, must be the same with our runtime.
type caller struct {
	needs []string // programs
	begin string   // $D: a directory, $RT: the runtime
	steps []string
	end   string
}

func callers() map[string]caller {
	return map[string]caller{
		"podman": {
			needs: []string{"podman", "conmon"},
			// runc cannot raise limits where CAP_SYS_RESOURCE is missing.
			begin: `printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n' >$D/containers.conf; export CONTAINERS_CONF=$D/containers.conf
				P="podman --root $D/root --runroot /run/pod --runtime $RT --cgroup-manager cgroupfs --events-backend file --storage-driver vfs"
				tar -C $D/rootfs -c . | $P import - box >/dev/null 2>&1; R="$P run --rm --network none"`,
			steps: []string{
				"$R box echo hello", "$R box sh -c 'exit 7'", "$R box nosuch 2>&1 | grep -o 'executable file not found in $PATH'", "$R box nosuch 2>/dev/null", "$R box /etc 2>/dev/null", "$R box /bin/nope 2>/dev/null",
				"$R --user 1000:1001 box id", "$R --group-add 5 --user 7 box id -G", "$R -w /tmp/made box pwd", "$R -e A=b box sh -c 'echo $A $HOME'", "$R --hostname other box hostname",
				"$R --read-only box touch /x 2>/dev/null", "$R --read-only --tmpfs /tmp box touch /tmp/x", "$R --memory 64m box cat /sys/fs/cgroup/memory/memory.limit_in_bytes", "$R --pids-limit 33 box cat /sys/fs/cgroup/pids/pids.max",
				"$R --cpu-shares 300 box cat /sys/fs/cgroup/cpu/cpu.shares", "$R --cpuset-cpus 0 box cat /sys/fs/cgroup/cpuset/cpuset.cpus", "$R --cap-drop all box grep CapEff /proc/self/status", "$R --cap-add net_admin box grep CapEff /proc/self/status",
				"$R --ulimit nofile=77:88 --ulimit nproc=1000:1000 box sh -c 'ulimit -n; ulimit -Hn'", "$R --sysctl net.ipv4.ip_forward=1 box cat /proc/sys/net/ipv4/ip_forward", "$R --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status",
				"$R --security-opt seccomp=unconfined box grep Seccomp: /proc/self/status", "$R box grep Seccomp: /proc/self/status", "$R -v $D/rootfs/etc:/mnt:ro box cat /mnt/passwd", "$R --device /dev/fuse box stat -c %t:%T /dev/fuse", "$R --pid host box true", "$R --ipc host --uts host box true",
				"echo typed | $R -i box cat", "$R --oom-score-adj 300 box cat /proc/self/oom_score_adj", "$R --shm-size 1m box df -k /dev/shm | tail -1 | sed 's/ .*//'", "$R --init box echo init 2>/dev/null",
				"$P run -d --name w --network none box sleep 1000 >/dev/null", "$P exec w echo exec", "$P exec w sh -c 'exit 9'", "$P exec w nosuch 2>/dev/null", "$P exec -u 5 -w /tmp -e X=y w sh -c 'id -u; pwd; echo $X'", "$P exec -t w tty", "echo in | $P exec -i w cat", "$P exec -d w sleep 5 >/dev/null",
				"$P pause w >/dev/null", "$P ps --format '{{.Names}}'; $P inspect -f '{{.State.Status}}' w", "$P unpause w >/dev/null", "$P update --memory 80m w >/dev/null; $P exec w cat /sys/fs/cgroup/memory/memory.limit_in_bytes", "$P top w args | grep -c sleep", "$P stats --no-stream --format '{{.Name}}' w",
				"$P kill w >/dev/null; $P wait w", "$P start w >/dev/null; $P exec w echo again", "$P stop -t 0 w >/dev/null; $P inspect -f '{{.State.ExitCode}}' w", "$P rm w >/dev/null", "$P ps -aq",
			},
			end: "$P rm -fa >/dev/null 2>&1; $P rmi -fa >/dev/null 2>&1",
		},
		"containerd": {
			needs: []string{"containerd", "ctr", "containerd-shim-runc-v2"},
			begin: `printf 'version = 2\nroot = "%s"\nstate = "/run/ctd"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "/run/ctd.sock"\n' $D/ctd >$D/config.toml
				containerd -c $D/config.toml >$D/log 2>&1 & DAEMON=$!
				for i in $(seq 100); do test -S /run/ctd.sock && break; sleep 0.1; done
				C="ctr -a /run/ctd.sock"; R="--runc-binary $RT --runtime io.containerd.runc.v2 --rootfs $D/rootfs --env PATH=/bin"`,
			steps: []string{
				"$C run --rm $R a echo hello", "$C run --rm $R a sh -c 'exit 7'", "$C run --rm $R a nosuch 2>&1 | grep -o 'executable file not found in $PATH'", "$C run --rm --user 5:6 $R a id", "$C run --rm --cwd /tmp $R a pwd", "$C run --rm --env A=b $R a sh -c 'echo $A'", "$C run --rm --memory-limit 67108864 $R a cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
				"$C run --rm --read-only $R a touch /x 2>/dev/null", "$C run --rm --cap-add CAP_NET_ADMIN $R a grep CapBnd /proc/self/status", "$C run --rm --mount type=bind,src=$D/rootfs/etc,dst=/mnt,options=rbind:ro $R a cat /mnt/passwd",
				"$C run -d $R t sleep 1000", "$C t ls -q", "$C t exec --exec-id e t echo exec", "$C t exec --exec-id f t sh -c 'exit 9'", "$C t exec --exec-id g t nosuch 2>/dev/null", "$C t pause t; $C t ls | awk '/^t/{print $3}'", "$C t resume t; $C t ls | awk '/^t/{print $3}'", "$C t metrics t | grep -c memory.usage", "$C t ps t | wc -l",
				"$C t kill -s KILL t; sleep 1; $C t ls | awk '/^t/{print $3}'", "$C t rm t 2>/dev/null", "$C c rm t", "$C c ls -q",
			},
			end: "kill $DAEMON; wait $DAEMON",
		},
		"docker": {
			needs: []string{"dockerd", "docker", "containerd"},
			begin: `dockerd --data-root $D/docker --exec-root /run/dk -H unix:///run/dk.sock --pidfile /run/dk.pid --iptables=false --ip6tables=false --bridge=none --storage-driver vfs --add-runtime other=$RT >$D/log 2>&1 & DAEMON=$!
				K="docker -H unix:///run/dk.sock"; for i in $(seq 100); do $K version >/dev/null 2>&1 && break; sleep 0.1; done
				tar -C $D/rootfs -c . | $K import - box >/dev/null; R="$K run --rm --runtime other"`,
			steps: []string{
				"$R box echo hello", "$R box sh -c 'exit 7'", "$R box nosuch 2>/dev/null", "$R box /etc 2>/dev/null", "$R -u 5:6 box id", "$R -w /tmp/x box pwd", "$R -e A=b box sh -c 'echo $A $HOME'", "$R --hostname h box hostname", "$R --memory 64m box cat /sys/fs/cgroup/memory/memory.limit_in_bytes", "$R --pids-limit 44 box cat /sys/fs/cgroup/pids/pids.max",
				"$R --read-only box touch /x 2>/dev/null", "$R --cap-drop ALL box grep CapEff /proc/self/status", "$R --ulimit nofile=77:88 box sh -c 'ulimit -n'", "$R -v $D/rootfs/etc:/mnt:ro box cat /mnt/passwd", "$R --tmpfs /t box touch /t/x", "echo typed | $R -i box cat", "$R --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status", "$R --init box echo init 2>/dev/null",
				"$K run -d --runtime other --name ww box sleep 1000 >/dev/null", "$K exec ww echo exec", "$K exec ww sh -c 'exit 9'", "$K exec ww nosuch >/dev/null 2>&1", "$K exec -u 5 -w /tmp ww sh -c 'id -u; pwd'", "echo in | $K exec -i ww cat", "$K pause ww >/dev/null; $K inspect -f '{{.State.Status}}' ww", "$K unpause ww >/dev/null", "$K update --memory 80m --memory-swap 80m ww >/dev/null; $K exec ww cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
				"$K top ww -o pid,args | grep -c sleep", "$K stats --no-stream --format '{{.Name}} {{.PIDs}}' ww", "$K kill ww >/dev/null; $K inspect -f '{{.State.ExitCode}}' ww", "$K start ww >/dev/null; $K exec ww echo again", "$K stop -t 0 ww >/dev/null; $K inspect -f '{{.State.ExitCode}}' ww", "$K rm ww >/dev/null", "$K ps -aq",
			},
			end: "kill $DAEMON; wait $DAEMON",
		},
	}
}

// TestCallersAsRunc: podman, containerd and Docker do the same with both runtimes.
func TestCallersAsRunc(t *testing.T) {
	theirs := runc(t)
	for name, c := range callers() {
		t.Run(name, func(t *testing.T) {
			c.compare(t, theirs)
		})
	}
}

// compare runs the steps with both runtimes and returns what ours came to.
func (c *caller) compare(t *testing.T, theirs string) []string {
	for _, p := range c.needs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	mine, his := c.run(t, ours), c.run(t, theirs)
	if len(mine) != len(c.steps) || len(his) != len(c.steps) {
		t.Fatalf("%d steps, of which ours came to %d and runc to %d:\n%s", len(c.steps), len(mine), len(his), strings.Join(mine, "\n"))
	}
	for i, step := range c.steps {
		if mine[i] != his[i] {
			t.Errorf("%s\nours: %s\nrunc: %s", step, mine[i], his[i])
		}
	}
	return mine
}

// run runs the script in mount and network namespaces of its own and returns what each
// step printed, with its exit code.
func (c *caller) run(t *testing.T, runtime string) (results []string) {
	t.Helper()
	l := newLab(t, ours)
	must(t, os.Symlink("busybox", l.path("bin/df")))
	script := "mount -t tmpfs tmpfs /run; ip link set lo up\nD=" + l.bundle + "; RT=" + runtime + "\n" + c.begin + "\n"
	for _, s := range c.steps {
		script += "( " + s + " ) 2>&1; echo \"exit code $?\"; echo '-- step --'\n"
	}
	name := filepath.Join(l.bundle, "script")
	must(t, os.WriteFile(name, []byte(script+c.end+"\n"), 0o644))
	cmd := exec.Command("unshare", "-m", "-n", "bash", name)
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	for _, parent := range []string{"libpod_parent/*", "libpod_parent", "default"} { // podman's and containerd's own
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + parent)
		for _, dir := range groups {
			os.Remove(dir)
		}
	}
	for part := range strings.SplitSeq(string(out), "-- step --\n") {
		if strings.Contains(part, "exit code") {
			results = append(results, changing.ReplaceAllString(strings.TrimSpace(part), "…"))
		}
	}
	return results
}

// changing is what differs from run to run.
var changing = regexp.MustCompile(`[0-9a-f]{64}|[0-9a-f]{12}\b|` + `time="[^"]*" `)
