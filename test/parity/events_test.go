package parity

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

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
		// dockerd tells of a start's network and volumes in either order.
		for i := 1; i < len(all); i++ {
			if all[i-1].name == "volume mount" && all[i].name == "network connect" {
				all[i-1], all[i] = all[i], all[i-1]
			}
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
