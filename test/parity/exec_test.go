package parity

import (
	"encoding/json"
	"net/http"
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
