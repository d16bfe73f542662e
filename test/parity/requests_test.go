package parity

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

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
