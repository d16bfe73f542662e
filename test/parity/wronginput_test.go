package parity

import (
	"strings"
	"testing"
)

// compareWrongInput gives the client what must be refused. Where scripts match
// on the text it must be the same; elsewhere ours may say more.
func compareWrongInput(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	p.must(t, "run", "-d", "--name", "host", "-p", "18100:80", busybox, "sleep", "1000")
	p.must(t, "create", "--name", "idle", busybox, "true")
	for _, tc := range wrongInputs {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			a, b := p.docker(t, tc.args...)
			if a.Code != b.Code || a.Code == 0 {
				t.Errorf("%s: exit %d: %s\n%s: exit %d: %s", p.ours.name, a.Code, a.Err, p.theirs.name, b.Code, b.Err)
				return
			}
			compareWords(t, p, tc.both, a.Err, b.Err)
		})
	}
}

// compareWords compares two texts: the same but for ids, or both with the given
// words, or for "*" both there.
func compareWords(t *testing.T, p *pair, both, ours, theirs string) {
	t.Helper()
	ours, theirs = withoutIDs(ours), withoutIDs(theirs)
	ok := ours == theirs
	switch both {
	case "":
	case "*":
		ok = ours != "" && theirs != ""
	default:
		has := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(both)) }
		ok = has(ours) && has(theirs)
	}
	if !ok {
		t.Errorf("want both to say %q\n%s: %s\n%s: %s", both, p.ours.name, ours, p.theirs.name, theirs)
	}
}

var wrongInputs = []struct {
	args []string
	both string // what both texts must hold; "" when they must be the same
}{
	{args: []string{"inspect", "absent"}},
	{args: []string{"inspect", "--type", "container", "absent"}},
	{args: []string{"start", "absent"}},
	{args: []string{"stop", "absent"}},
	{args: []string{"kill", "absent"}, both: "cannot kill container: absent: No such container: absent"},
	{args: []string{"rm", "absent"}},
	{args: []string{"rm", "host"}, both: "stop the container before"},
	{args: []string{"logs", "absent"}},
	{args: []string{"attach", "absent"}},
	{args: []string{"attach", "idle"}},
	{args: []string{"wait", "absent"}},
	{args: []string{"exec", "absent", "true"}},
	{args: []string{"exec", "idle", "true"}, both: "container <id> is not running"},
	{args: []string{"kill", "idle"}, both: "cannot kill container: idle: container <id> is not running"},
	{args: []string{"kill", "-s", "NONSENSE", "host"}, both: "invalid signal: NONSENSE"},
	{args: []string{"rmi", "absent"}},
	{args: []string{"rmi", busybox}},
	{args: []string{"tag", "absent", "new:1"}},
	{args: []string{"tag", busybox, "New:1"}},
	{args: []string{"history", "absent"}},
	{args: []string{"image", "inspect", "absent"}},
	{args: []string{"network", "inspect", "absent"}},
	{args: []string{"create", "--name", "host", busybox, "true"}, both: `The container name "/host" is already in use by container "<id>". You have to remove (or rename) that container to be able to reuse that name.`},
	{args: []string{"create", "--name", "../x", busybox, "true"}, both: `Invalid container name (../x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`},
	{args: []string{"create", busybox}, both: "No command specified"},
	{args: []string{"create", "--cap-add", "FLY", busybox, "true"}, both: `invalid CapAdd: unknown capability: "CAP_FLY"`},
	{args: []string{"create", "-m", "1", busybox, "true"}, both: "inimum memory limit"},
	{args: []string{"create", "-m", "64m", "--memory-swap", "32m", busybox, "true"}, both: "inimum memoryswap limit should be larger than memory limit"},
	{args: []string{"create", "--cpus", "1000", busybox, "true"}, both: "ange of CPUs is from 0.01 to "},
	{args: []string{"create", "--cpu-quota", "1", busybox, "true"}, both: "CPU cfs quota"},
	{args: []string{"run", "--rm", "--network", "absent", busybox, "true"}, both: "network absent not found"},
	{args: []string{"run", "--rm", "--network", "container:absent", busybox, "true"}, both: "No such container: absent"},
	{args: []string{"run", "--network", "host", "--hostname", "x", "--network-alias", "y", busybox, "true"}},
	{args: []string{"create", "--network", "host", "--link", "host", busybox, "true"}},
	{args: []string{"create", "--volumes-from", "absent", busybox, "true"}, both: "No such container: absent"},
	{args: []string{"create", "-v", "relative/x:/x", busybox, "true"}, both: `"relative/x" includes invalid characters for a local volume name`},
	{args: []string{"create", "-v", "/srv:/", busybox, "true"}, both: "destination can't be '/'"},
	{args: []string{"create", "-v", "/srv:/x:nonsense", busybox, "true"}, both: "invalid mode: nonsense"},
	{args: []string{"create", "-v", "/a:/x", "-v", "/b:/x", busybox, "true"}, both: "Duplicate mount point: /x"},
	{args: []string{"create", "--mount", "type=bind,src=/absent,dst=/x", busybox, "true"}, both: `invalid mount config for type "bind": bind source path does not exist: /absent`},
	{args: []string{"create", "--restart", "sometimes", busybox, "true"}, both: "invalid restart policy"},
	{args: []string{"create", "--restart", "always:3", busybox, "true"}, both: "maximum retry count can"},
	{args: []string{"create", "--rm", "--restart", "always", busybox, "true"}},
	{args: []string{"run", "--rm", "--ipc", "nonsense", busybox, "true"}, both: "ipc"},
	{args: []string{"run", "--rm", "--ipc", "container:host", busybox, "true"}, both: "join IPC of "},
	{args: []string{"create", "--stop-signal", "NONSENSE", busybox, "true"}, both: "nvalid signal: NONSENSE"},
	{args: []string{"create", "--log-opt", "nonsense=1", busybox, "true"}, both: "unknown log opt 'nonsense' for json-file log driver"},
	{args: []string{"run", "--rm", "--log-opt", "max-size=x", busybox, "true"}, both: "x"},
	{args: []string{"create", "--shm-size", "-1", busybox, "true"}},
	{args: []string{"create", "--runtime", "nonsense", busybox, "true"}, both: "nonsense"},
	{args: []string{"create", "--workdir", "relative", busybox, "true"}, both: "relative"},
	{args: []string{"create", "--security-opt", "nonsense", busybox, "true"}, both: `invalid --security-opt`},
	{args: []string{"create", "--oom-score-adj", "2000", busybox, "true"}, both: "Invalid value 2000, range for oom score adj is [-1000, 1000]"},
	{args: []string{"run", "-d", "--name", "in-use", "-p", "18100:80", busybox, "sleep", "1000"}, both: "18100"},
	{args: []string{"run", "--rm", "--sysctl", "nonsense=1", busybox, "true"}, both: "nonsense"},
	{args: []string{"run", "--rm", "--device", "/dev/absent", busybox, "true"}, both: "/dev/absent"},
	{args: []string{"run", "--rm", "--cpuset-cpus", "400", busybox, "true"}, both: "Requested CPUs are not available - requested 400, available: 0-1"},
	{args: []string{"ps", "--filter", "nonsense=1"}, both: "invalid filter 'nonsense'"},
	{args: []string{"ps", "--filter", "status=nonsense"}, both: "nonsense"},
	{args: []string{"ps", "--filter", "before=absent"}, both: "absent"},
	{args: []string{"images", "--filter", "nonsense=1"}, both: "invalid filter 'nonsense'"},
	{args: []string{"events", "--until", "nonsense"}, both: "nonsense"},
}
