package parity

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// compareExec compares execs at every moment of their life.
func compareExec(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	p.must(t, "run", "-d", "--name", "host", "-e", "A=1", busybox, "sleep", "1000")
	for _, body := range []string{
		`{"Cmd":["sh","-c","sleep 1; exit 7"]}`,
		`{"Cmd":["sh"],"Tty":true,"AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"Env":["B=2"],"WorkingDir":"/tmp","User":"app"}`,
		`{"Cmd":["sleep","1000"],"Privileged":true,"DetachKeys":"ctrl-x"}`,
	} {
		ours, theirs := p.both(t, func(e *engine) any {
			r := e.request(t, http.MethodPost, "/v1.41/containers/host/exec", body)
			if r.status != http.StatusCreated {
				t.Fatalf("%s: %d %s", e.name, r.status, r.raw)
			}
			var made struct{ ID string }
			if err := json.Unmarshal([]byte(r.raw), &made); err != nil {
				t.Fatal(err)
			}
			return made.ID
		})
		ids := map[*engine]string{p.ours: ours.(string), p.theirs: theirs.(string)}
		look := func(when string) {
			for _, v := range versions {
				a, b := p.both(t, func(e *engine) any { return e.get(t, "/v"+v+"/exec/"+ids[e]+"/json") })
				p.compare(t, "exec", "exec "+when+" at "+v, a, b)
			}
		}
		look("created")
		if strings.Contains(body, "Tty") || strings.Contains(body, "Privileged") {
			continue
		}
		p.both(t, func(e *engine) any {
			if r := e.request(t, http.MethodPost, "/v1.41/exec/"+ids[e]+"/start", `{"Detach":true}`); r.status != http.StatusOK {
				t.Fatalf("%s: %d %s", e.name, r.status, r.raw)
			}
			return nil
		})
		look("running")
		p.inspect(t, "host")
		p.both(t, func(e *engine) any {
			for range 100 {
				if r := e.request(t, http.MethodGet, "/v1.41/exec/"+ids[e]+"/json", ""); strings.Contains(r.raw, `"Running":false`) {
					return nil
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Fatalf("%s: the exec does not end", e.name)
			return nil
		})
		look("ended")
	}
}

// exitCases are compared by exit code, stdout and stderr.
var exitCases = []struct {
	args   []string
	both   string // what both texts must hold; "" when they must be the same
	mended int    // our exit code where 20.10's is another, for the reason given
	reason string
}{
	{args: []string{"run", "--rm", busybox, "true"}},
	{args: []string{"run", "--rm", busybox, "false"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "exit 42"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "kill -9 $$"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "trap 'exit 7' TERM; kill -15 $$"}},
	{args: []string{"run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2"}},
	{args: []string{"run", "--rm", busybox, "absent"}, both: `exec: "absent": executable file not found in $PATH`},
	{args: []string{"run", "--rm", busybox, "/absent"}, both: "no such file or directory"},
	{args: []string{"run", "--rm", busybox, "/etc"}, both: "permission denied"},
	{args: []string{"run", "--rm", busybox, "/etc/noexec"}, both: "permission denied"},
	{args: []string{"run", "--rm", busybox, "/etc/nointerpreter"}, both: "/etc/nointerpreter: no such file or directory", mended: 127,
		reason: "runc has reported success when its last execve fails, and exits with 1; ours reports the failed execve"},
	{args: []string{"run", "--rm", busybox, "/etc/noformat"}, both: "/etc/noformat: exec format error", mended: 125,
		reason: "runc has reported success when its last execve fails, and exits with 1; ours reports the failed execve"},
	{args: []string{"run", "--rm", "--entrypoint", "absent", busybox}, both: `exec: "absent": executable file not found in $PATH`},
	{args: []string{"run", "--rm", "--workdir", "/etc/passwd", busybox, "true"}, both: "/etc/passwd"},
	{args: []string{"run", "--rm", "--user", "nobody-here", busybox, "true"}, both: "unable to find user nobody-here: no matching entries in passwd file"},
	{args: []string{"run", "--rm", "--user", "0:nogroup-here", busybox, "true"}, both: "unable to find group nogroup-here: no matching entries in group file"},
	{args: []string{"exec", "host", "true"}},
	{args: []string{"exec", "host", "sh", "-c", "exit 42"}},
	{args: []string{"exec", "host", "sh", "-c", "echo out; echo err >&2"}},
	{args: []string{"exec", "host", "absent"}, both: `exec: "absent": executable file not found in $PATH`, mended: 127,
		reason: "20.10 finds 127 and then overwrites it with 126; later versions exit with 127"},
	{args: []string{"exec", "host", "/etc"}, both: "permission denied"},
	{args: []string{"exec", "host", "/etc/noexec"}, both: "permission denied"},
	{args: []string{"exec", "--user", "nobody-here", "host", "true"}},
	{args: []string{"exec", "--workdir", "/absent", "host", "true"}, both: "/absent"},
	{args: []string{"exec", "-e", "A=1", "host", "sh", "-c", "echo $A"}},
	{args: []string{"wait", "absent"}},
	{args: []string{"stop", "-t", "0", "host"}},
	{args: []string{"stop", "host"}},
	{args: []string{"start", "host"}},
	{args: []string{"start", "host"}},
	{args: []string{"kill", "-s", "9", "host"}},
	{args: []string{"kill", "host"}, both: "is not running"},
	{args: []string{"restart", "-t", "0", "host"}},
	{args: []string{"rm", "host"}, both: "stop the container before"},
	{args: []string{"rm", "-f", "host"}},
	{args: []string{"rm", "-f", "host"}},
}

// compareExitCodes compares the client's exit code and what it prints.
func compareExitCodes(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	p.must(t, "run", "-d", "--name", "host", busybox, "sleep", "1000")
	for _, tc := range exitCases {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			a, b := p.docker(t, tc.args...)
			if a.Code != b.Code && (tc.mended == 0 || a.Code != tc.mended) || tc.mended != 0 && a.Code == b.Code {
				t.Errorf("%s: exit %d, prints %q, %q\n%s: exit %d, prints %q, %q", p.ours.name, a.Code, a.Out, a.Err, p.theirs.name, b.Code, b.Out, b.Err)
			}
			compareWords(t, p, tc.both, "stdout "+a.Out+"stderr "+a.Err, "stdout "+b.Out+"stderr "+b.Err)
		})
	}
}

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
	{args: []string{"create", "--log-driver", "nonsense", busybox, "true"}, both: "nonsense"},
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

// compareWrongRequests sends what no client sends: status, type and form of the
// answer must be the same.
func compareWrongRequests(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	p.must(t, "create", "--name", "idle", busybox, "true")
	for _, tc := range []struct {
		method, path, body string
		both               string // what both texts must hold; "" when they must be the same, "*" for any
		mended             int    // what ours answers where 20.10 answers 500 or takes nonsense for something
	}{
		{"GET", "/v1.41/nonsense", "", "", 0},
		{"GET", "/nonsense", "", "", 0},
		{"DELETE", "/v1.41/_ping", "", "*", 0},
		{"GET", "/v1.23/version", "", "*", 400},
		{"GET", "/v9.99/version", "", "*", 0},
		{"GET", "/vx/version", "", "*", 0},
		{"POST", "/v1.41/containers/create", "", "*", 400},
		{"POST", "/v1.41/containers/create", "{", "*", 400},
		{"POST", "/v1.41/containers/create", "[]", "*", 400},
		{"POST", "/v1.41/containers/create", "{}", "*", 0},
		{"POST", "/v1.41/containers/create", `{"Image":7}`, "*", 400},
		{"POST", "/v1.41/containers/create?name=idle", `{"Image":"` + busybox + `","Cmd":["true"]}`, "*", 0},
		{"POST", "/v1.41/containers/create", `{"Image":"absent:1"}`, "", 0},
		{"POST", "/v1.41/containers/create?name=a/b", `{"Image":"` + busybox + `"}`, "*", 0},
		{"GET", "/v1.41/containers/absent/json", "", "", 0},
		{"GET", "/v1.41/containers/json?filters=nonsense", "", "*", 400},
		{"GET", "/v1.41/containers/json?limit=x", "", "*", 400},
		{"GET", "/v1.41/containers/absent/logs?stdout=1", "", "", 0},
		{"GET", "/v1.41/containers/idle/logs", "", "", 0},
		{"GET", "/v1.41/containers/idle/logs?stdout=1&tail=x", "", "*", 400},
		{"GET", "/v1.41/containers/idle/logs?stdout=1&since=x", "", "*", 400},
		{"POST", "/v1.41/containers/absent/start", "", "", 0},
		{"POST", "/v1.41/containers/idle/stop", "", "", 0},
		{"POST", "/v1.41/containers/idle/stop?t=x", "", "*", 400},
		{"POST", "/v1.41/containers/idle/kill", "", "*", 0},
		{"POST", "/v1.41/containers/idle/kill?signal=NONSENSE", "", "invalid signal: NONSENSE", 0},
		{"POST", "/v1.41/containers/idle/resize?h=x&w=1", "", "*", 0},
		{"POST", "/v1.41/containers/idle/resize?h=1&w=1", "", "*", 0},
		{"POST", "/v1.41/containers/idle/wait?condition=nonsense", "", "*", 400},
		{"POST", "/v1.41/containers/absent/wait", "", "", 0},
		{"POST", "/v1.41/containers/absent/exec", `{"Cmd":["true"]}`, "", 0},
		{"POST", "/v1.41/containers/idle/exec", `{"Cmd":["true"]}`, "*", 0},
		{"POST", "/v1.41/containers/idle/exec", `{}`, "*", 0},
		{"GET", "/v1.41/exec/absent/json", "", "", 0},
		{"POST", "/v1.41/exec/absent/start", `{}`, "", 0},
		{"POST", "/v1.41/exec/absent/resize?h=1&w=1", "", "", 0},
		{"DELETE", "/v1.41/containers/absent", "", "", 0},
		{"DELETE", "/v1.41/images/absent", "", "", 0},
		{"GET", "/v1.41/images/absent/json", "", "No such image: absent:latest", 0},
		{"GET", "/v1.41/images/absent/history", "", "", 0},
		{"POST", "/v1.41/images/absent/tag?repo=x", "", "", 0},
		{"POST", "/v1.41/images/" + url.PathEscape(busybox) + "/tag?repo=Upper", "", "*", 400},
		{"POST", "/v1.41/images/create", "", "*", 400},
		{"GET", "/v1.41/images/json?filters={\"nonsense\":[\"1\"]}", "", "invalid filter 'nonsense'", 0},
		{"GET", "/v1.41/networks/absent", "", "network absent not found", 0},
		{"GET", "/v1.41/events?since=x", "", "*", 400},
		{"GET", "/v1.41/events?until=1&filters={\"nonsense\":[\"1\"]}", "", "*", 400},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			x, y := p.both(t, func(e *engine) any { return e.request(t, tc.method, tc.path, tc.body) })
			a, b := x.(reply), y.(reply)
			if tc.mended != 0 {
				if a.status != tc.mended || a.media != "application/json" && !strings.HasPrefix(a.media, "text/plain") || b.status == tc.mended {
					t.Errorf("want %d, where dockerd answers otherwise\n%s: %d %s\n%s: %d %s", tc.mended, p.ours.name, a.status, a.raw, p.theirs.name, b.status, b.raw)
				}
				return
			}
			if a.status != b.status || a.media != b.media {
				t.Errorf("%s: %d %s %s\n%s: %d %s %s", p.ours.name, a.status, a.media, a.raw, p.theirs.name, b.status, b.media, b.raw)
			}
			compareWords(t, p, tc.both, a.raw, b.raw)
		})
	}
}

// compareLife compares status, type and body of the answers that a container's
// life gets, at every version. Where 20.10 names no media type ours may.
func compareLife(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	for _, v := range versions {
		for _, step := range []struct{ method, path, body string }{
			{"POST", "/containers/create?name=life", `{"Image":"` + busybox + `","Cmd":["sleep","1000"]}`},
			{"GET", "/containers/life/json?size=1", ""},
			{"POST", "/containers/life/start", ""},
			{"POST", "/containers/life/start", ""},
			{"GET", "/containers/life/logs?stdout=1", ""},
			{"POST", "/containers/life/resize?h=10&w=10", ""},
			{"DELETE", "/containers/life", ""},
			{"POST", "/containers/life/kill?signal=USR1", ""},
			{"POST", "/containers/life/stop?t=0", ""},
			{"POST", "/containers/life/stop?t=0", ""},
			{"POST", "/containers/life/wait", ""},
			{"POST", "/containers/life/restart?t=0", ""},
			{"POST", "/containers/life/kill", ""},
			{"POST", "/images/" + busybox + "/tag?repo=again&tag=2", ""},
			{"DELETE", "/images/again:2", ""},
			{"DELETE", "/containers/life?v=1&force=1", ""},
		} {
			x, y := p.both(t, func(e *engine) any { return e.request(t, step.method, "/v"+v+step.path, step.body) })
			a, b := x.(reply), y.(reply)
			a.raw = withoutKnown(a.raw)
			if strings.HasSuffix(step.path, "?size=1") {
				p.compare(t, "bare container", step.path+" at "+v, decode(t, a.raw), decode(t, b.raw))
				a.raw, b.raw = "", ""
			}
			if x, y := withoutIDs(strings.ToLower(a.raw)), withoutIDs(strings.ToLower(b.raw)); a.status != b.status || a.media != b.media && b.media != "" || x != y && a.status != http.StatusConflict {
				t.Errorf("%s /v%s%s\n%s: %d %s %s\n%s: %d %s %s", step.method, v, step.path, p.ours.name, a.status, a.media, a.raw, p.theirs.name, b.status, b.media, b.raw)
			}
		}
	}
}

// compareEvents compares the stream of one container's and image's life.
func compareEvents(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	since := time.Now().Unix()
	time.Sleep(time.Second) // events of this second belong to other groups
	p.must(t, "run", "-d", "--name", "life", "-l", "tier=front", "-p", "18110:80", busybox, "sleep", "1000")
	p.must(t, "exec", "life", "true")
	p.docker(t, "exec", "life", "absent")
	p.must(t, "kill", "-s", "USR2", "life")
	p.must(t, "stop", "-t", "0", "life")
	p.must(t, "start", "life")
	p.must(t, "restart", "-t", "0", "life")
	p.must(t, "rm", "-f", "life")
	p.docker(t, "run", "--name", "lost", busybox, "absent")
	p.must(t, "rm", "lost")
	p.docker(t, "run", "--rm", "--name", "short", "--network", "none", "-v", "/anonymous", busybox, "sh", "-c", "exit 3")
	p.must(t, "tag", busybox, "again:1")
	p.must(t, "rmi", "again:1")
	until := time.Now().Add(time.Second).Unix()
	ours, theirs := p.both(t, func(e *engine) any {
		r := e.request(t, http.MethodGet, fmt.Sprintf("/v1.41/events?since=%d&until=%d", since+1, until), "")
		if r.status != http.StatusOK {
			t.Fatalf("%s: %d %s", e.name, r.status, r.raw)
		}
		return r.raw
	})
	type line struct {
		name  string
		event any
	}
	read := func(raw any) (all []line) {
		for text := range strings.Lines(raw.(string)) {
			event := decode(t, text).(map[string]any)
			all = append(all, line{fmt.Sprint(event["Type"], " ", event["Action"]), event})
		}
		return all
	}
	a, b := read(ours), read(theirs)
	names := func(all []line) string {
		var s []string
		for _, l := range all {
			s = append(s, withoutIDs(l.name))
		}
		return strings.Join(s, "\n")
	}
	if x, y := names(a), names(b); x != y {
		t.Errorf("%s:\n%s\n\n%s:\n%s", p.ours.name, x, p.theirs.name, y)
		return
	}
	for i := range a {
		p.compare(t, "event", a[i].name, a[i].event, b[i].event)
	}
}
