package scenario

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/test/lab"
)

func TestStats(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "busy", "-m", "64m", busybox, "sh", "-c", "while :; do :; done").Must(t)
	d.Sampan("run", "-d", "--name", "idle", "--pids-limit", "50", busybox, "sleep", "1000").Must(t)
	d.Sampan("create", "--name", "off", busybox, "true").Must(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			out := c.do("stats", "--no-stream", "--format", "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}|{{.NetIO}}|{{.BlockIO}}|{{.PIDs}}", "busy", "idle").Must(t)
			rows := map[string][]string{}
			for _, line := range strings.Split(out, "\n") {
				f := strings.Split(line, "|")
				rows[f[0]] = f
			}
			busy, idle := rows["busy"], rows["idle"]
			if len(busy) != 7 || len(idle) != 7 {
				t.Fatalf("rows %q", out)
			}
			// On a busy machine it may not run at all between two samples.
			lab.Eventually(t, policyWait, "the busy one uses a processor", func() bool {
				text := c.do("stats", "--no-stream", "--format", "{{.CPUPerc}}", "busy").Must(t)
				cpu, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
				return err == nil && cpu > 5 && cpu < 250
			})
			if cpu, err := strconv.ParseFloat(strings.TrimSuffix(idle[1], "%"), 64); err != nil || cpu > 5 {
				t.Errorf("the idle one uses %s of a processor", idle[1])
			}
			if !strings.HasSuffix(busy[2], " / 64MiB") || idle[6] != "1" {
				t.Errorf("busy %q, idle %q", busy, idle)
			}
			if out := c.do("stats", "--no-stream").Must(t); !strings.HasPrefix(out, "CONTAINER ID   NAME") || strings.Count(out, "\n") != 2 || strings.Contains(out, "off") {
				t.Errorf("table:\n%s", out)
			}
			if out := c.do("stats", "--no-stream", "-a").Must(t); strings.Count(out, "\n") != 3 || !strings.Contains(out, "off") {
				t.Errorf("all:\n%s", out)
			}
			if r := c.do("stats", "--no-stream", "absent"); r.Code != 1 || !strings.Contains(r.Err, "No such container: absent") {
				t.Errorf("absent: %d %q", r.Code, r.Err)
			}
		})
	}
}

// The stream has the shape and the pace of Docker's.
func TestStatsStream(t *testing.T) {
	d := start(t)
	id := d.Sampan("run", "-d", "--name", "web", busybox, "sleep", "1000").Must(t)
	cmd := exec.Command("curl", "-sN", "--unix-socket", "/run/sampan/sampan.sock", "http://x/v1.41/containers/web/stats")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	dec := json.NewDecoder(out)
	var last container.StatsResponse
	for i := range 3 {
		var s container.StatsResponse
		if err := dec.Decode(&s); err != nil {
			t.Fatal(err)
		}
		if s.ID != id || s.Name != "/web" || s.OSType != "" || s.CPUStats.SystemUsage == 0 || s.CPUStats.OnlineCPUs == 0 || s.MemoryStats.Limit == 0 || s.PidsStats.Current != 1 {
			t.Errorf("sample %+v", s)
		}
		if _, ok := s.Networks["eth0"]; !ok || len(s.Networks) != 1 {
			t.Errorf("networks %v", s.Networks)
		}
		if i > 0 && (!s.PreRead.Equal(last.Read) || s.PreCPUStats.SystemUsage != last.CPUStats.SystemUsage || s.Read.Sub(last.Read) < 500*time.Millisecond) {
			t.Errorf("sample %d at %v after %v, before it %v", i, s.Read, last.Read, s.PreRead)
		}
		last = s
	}
	// One that does not run gives empty samples, and the stream ends with it.
	d.Sampan("stop", "-t", "0", "web").Must(t)
	for {
		var s container.StatsResponse
		if err := dec.Decode(&s); err != nil {
			t.Fatal(err)
		}
		if s.Read.IsZero() {
			break
		}
	}
	d.Sampan("rm", "web").Must(t)
	for {
		var s container.StatsResponse
		if dec.Decode(&s) != nil {
			return
		}
	}
}

func TestUpdate(t *testing.T) {
	d := start(t)
	read := func(t *testing.T, controller, id, file string) string {
		t.Helper()
		raw, err := os.ReadFile("/sys/fs/cgroup/" + controller + "/sampan/" + id + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(raw))
	}
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err != nil {
		t.Skip("the files that this test reads are those of cgroup v1")
	}
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			id := c.do("run", "-d", "--name", "web", "-m", "64m", busybox, "sleep", "1000").Must(t)
			defer c.do("rm", "-f", "web")
			if out := c.do("update", "-m", "96m", "--memory-swap", "200m", "--memory-reservation", "32m", "--cpu-shares", "512", "--cpu-period", "50000",
				"--cpu-quota", "20000", "--cpuset-cpus", "0", "--pids-limit", "77", "--restart", "on-failure:3", "web").Must(t); out != "web" {
				t.Errorf("update prints %q", out)
			}
			check := func(when string) {
				t.Helper()
				for _, tc := range []struct{ controller, file, want string }{
					{"memory", "memory.limit_in_bytes", strconv.Itoa(96 << 20)}, {"memory", "memory.soft_limit_in_bytes", strconv.Itoa(32 << 20)},
					{"cpu", "cpu.shares", "512"}, {"cpu", "cpu.cfs_period_us", "50000"}, {"cpu", "cpu.cfs_quota_us", "20000"},
					{"cpuset", "cpuset.cpus", "0"}, {"pids", "pids.max", "77"},
				} {
					if got := read(t, tc.controller, id, tc.file); got != tc.want {
						t.Errorf("%s: %s is %s, want %s", when, tc.file, got, tc.want)
					}
				}
			}
			check("at once")
			if out := c.do("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}", "web").Must(t); out != "100663296 209715200 77 on-failure 3" {
				t.Errorf("inspect %q", out)
			}
			d.Kill()
			d.Restart()
			c.do("restart", "-t", "0", "web").Must(t)
			check("after a restart of the daemon and the container")
			for _, tc := range []struct {
				args []string
				want string
			}{
				{[]string{"-m", "300m"}, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"},
				{[]string{"-m", "1m"}, "Minimum memory limit allowed is 6MB"},
				{[]string{"--cpus", "1"}, "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"},
				{[]string{"--cpuset-cpus", "999"}, "999"},
				{[]string{"--restart", "sometimes"}, "policy"},
				{[]string{"--cpu-rt-runtime", "1000"}, "real-time"},
			} {
				r := c.do(append(append([]string{"update"}, tc.args...), "web")...)
				if r.Code != 1 || !strings.Contains(r.Err, tc.want) || tc.args[0] != "--restart" && !strings.Contains(r.Err, "Cannot update container "+id) {
					t.Errorf("%q: exit %d, %q", tc.args, r.Code, r.Err)
				}
			}
			check("after refusals")
			if r := c.do("update", "web"); r.Code != 1 || !strings.Contains(strings.ToLower(r.Err), "you must provide one or more flags") {
				t.Errorf("without flags: exit %d, %q", r.Code, r.Err)
			}
			c.do("update", "--pids-limit", "-1", "web").Must(t)
			if got := read(t, "pids", id, "pids.max"); got != "max" {
				t.Errorf("pids.max is %s", got)
			}
		})
	}
	// --rm and a policy exclude each other.
	d.Sampan("run", "-d", "--rm", "--name", "brief", busybox, "sleep", "1000").Must(t)
	if r := d.Docker("update", "--restart", "always", "brief"); r.Code != 1 || !strings.Contains(r.Err, "Restart policy cannot be updated because AutoRemove is enabled for the container") {
		t.Errorf("exit %d, %q", r.Code, r.Err)
	}
	d.Docker("update", "--cpus", "0.5", "brief").Must(t)
}

func TestPruneContainers(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			c.do("run", "-d", "--name", "runs", busybox, "sleep", "1000").Must(t)
			c.do("run", "-d", "--name", "paused", busybox, "sleep", "1000").Must(t)
			c.do("pause", "paused").Must(t)
			kept := c.do("create", "--name", "kept", "--label", "keep=1", busybox, "true").Must(t)
			c.do("run", "--name", "ended", busybox, "sh", "-c", "dd if=/dev/zero of=/file bs=1000 count=100 2>/dev/null").Must(t)
			defer c.do("rm", "-f", "runs", "paused", "kept")
			ended := c.do("inspect", "-f", "{{.Id}}", "ended").Must(t)
			if out := c.do("container", "prune", "-f", "--filter", "until=1h").Must(t); out != "Total reclaimed space: 0B" {
				t.Errorf("nothing is that old: %q", out)
			}
			if r := lab.Run(t, []byte("n\n"), clientPath(t, c.name), "-H", "unix:///run/sampan/sampan.sock", "container", "prune"); r.Code != 0 || strings.Contains(r.Out, "Deleted") {
				t.Errorf("answered no: %d %q %q", r.Code, r.Out, r.Err)
			}
			out := c.do("container", "prune", "-f", "--filter", "label!=keep").Must(t)
			if !strings.HasPrefix(out, "Deleted Containers:\n"+ended+"\n\nTotal reclaimed space: 1") {
				t.Errorf("prune prints %q", out)
			}
			if r := lab.Run(t, []byte("y\n"), clientPath(t, c.name), "-H", "unix:///run/sampan/sampan.sock", "container", "prune"); r.Code != 0 || !strings.Contains(r.Out, kept) {
				t.Errorf("answered yes: %d %q %q", r.Code, r.Out, r.Err)
			}
			if out := c.do("ps", "-a", "--format", "{{.Names}}").Must(t); out != "paused\nruns" {
				t.Errorf("left: %q", out)
			}
			if r := c.do("container", "prune", "-f", "--filter", "name=x"); r.Code != 1 || !strings.Contains(r.Err, "invalid filter 'name'") {
				t.Errorf("a wrong filter: %d %q", r.Code, r.Err)
			}
		})
	}
}

func clientPath(t *testing.T, name string) string {
	if name == "docker" {
		return "/usr/bin/docker"
	}
	return lab.Bin(t, name)
}
