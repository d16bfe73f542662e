package parity

import (
	"fmt"
	"github.com/sampan-containers/sampan/test/lab"
	"net/http"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// compareContainers makes every case on both engines and compares what each
// reports about it alone and in lists.
func compareContainers(t *testing.T, p *pair) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { p.create(t, c) })
	}
	t.Run("lists", p.compareLists)
	t.Run("bridge", func(t *testing.T) {
		for _, v := range versions {
			ours, theirs := p.both(t, func(e *engine) any {
				n := e.get(t, "/v"+v+"/networks/bridge").(map[string]any)
				var list []any
				for _, endpoint := range n["Containers"].(map[string]any) {
					list = append(list, endpoint)
				}
				n["Containers"] = byName(t, list, "Name")
				delete(n["Containers"].(map[string]any), "order")
				return n
			})
			p.compare(t, "network", "bridge in use at "+v, ours, theirs)
		}
	})
	p.removeAll(t)
	for _, v := range versions {
		for i, body := range bodies {
			t.Run(fmt.Sprintf("body-%d-%s", i, v), func(t *testing.T) { p.createRaw(t, v, body) })
		}
	}
	for _, flags := range notYet {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			r := p.ours.docker(t, append(append([]string{"create"}, flags...), busybox, "true")...)
			named := strings.Contains(r.Err, "not available") || strings.Contains(r.Err, "not supported") || strings.Contains(r.Err, "no log driver named 'nonsense'")
			if r.Code == 0 || !named {
				t.Errorf("exit %d: %s; want it refused by name", r.Code, r.Err)
			}
		})
	}
	p.removeAll(t)
}

// createRaw compares the answer to a create request and what it made.
func (p *pair) createRaw(t *testing.T, v, body string) {
	x, y := p.both(t, func(e *engine) any {
		return e.request(t, http.MethodPost, "/v"+v+"/containers/create?name=raw", body)
	})
	a, b := x.(reply), y.(reply)
	if a.status != b.status || a.media != b.media || withoutIDs(a.raw) != withoutIDs(b.raw) {
		t.Errorf("create at %s of %s\n%s: %d %s %s\n%s: %d %s %s", v, body, p.ours.name, a.status, a.media, a.raw, p.theirs.name, b.status, b.media, b.raw)
	}
	if a.status == http.StatusCreated && b.status == http.StatusCreated {
		p.get(t, "bare container", "/v"+v+"/containers/raw/json")
		p.get(t, "bare container", "/v1.41/containers/raw/json")
	}
	p.both(t, func(e *engine) any { return e.request(t, http.MethodDelete, "/v"+v+"/containers/raw?v=1&force=1", "") })
}

func (p *pair) create(t *testing.T, c containerCase) {
	verb := []string{"run", "-d"}
	if c.until == "created" {
		verb = []string{"create"}
	}
	image, command := c.image, c.command
	if image == "" {
		image = busybox
	}
	if command == nil {
		command = []string{"sleep", "1000"}
	}
	args := append(append(append(append(verb, "--name", c.name), c.flags...), image), command...)
	a, b := p.docker(t, args...)
	if a.Code != b.Code || (a.Code == 0) == (c.until == "failed") {
		t.Fatalf("docker %s: %s: exit %d %s\n%s: exit %d %s", strings.Join(args, " "), p.ours.name, a.Code, a.Err, p.theirs.name, b.Code, b.Err)
	}
	if !sameWarnings(a.Err, b.Err) && c.until != "failed" {
		t.Errorf("docker %s prints on stderr\n%s: %s\n%s: %s", strings.Join(args, " "), p.ours.name, a.Err, p.theirs.name, b.Err)
	}
	if c.until == "exited" {
		p.must(t, "wait", c.name)
	}
	switch c.until {
	case "stopped":
		p.must(t, "stop", c.name)
	case "restarted":
		p.both(t, func(e *engine) any {
			lab.Eventually(t, 20*time.Second, e.name+" gives up restarting", func() bool {
				return e.docker(t, "inspect", "-f", "{{.State.Status}} {{.RestartCount}}", c.name).Must(t) == "exited 1"
			})
			return nil
		})
	}
	p.inspect(t, c.name)
	for _, v := range versions {
		p.get(t, "container", "/v"+v+"/containers/"+c.name+"/json")
	}
}

func sameWarnings(a, b string) bool {
	lines := func(s string) []string {
		l := strings.Split(strings.TrimSpace(s), "\n")
		sort.Strings(l)
		return l
	}
	return strings.Join(lines(a), "\n") == strings.Join(lines(b), "\n")
}

// inspect compares what the client prints, which is what scripts read.
func (p *pair) inspect(t *testing.T, name string) {
	t.Helper()
	ours, theirs := p.must(t, "inspect", name)
	a, b := decode(t, ours).([]any), decode(t, theirs).([]any)
	if len(a) != 1 || len(b) != 1 {
		t.Fatalf("docker inspect %s gives %d and %d objects", name, len(a), len(b))
	}
	p.compare(t, "container", "docker inspect "+name, a[0], b[0])
}

// compareLists compares docker ps and the lists of the API, with filters.
func (p *pair) compareLists(t *testing.T) {
	ours, theirs := p.must(t, "ps", "-a", "--no-trunc", "--size", "--format", "{{json .}}")
	p.compareLines(t, "ps", "docker ps", ours, theirs)
	for _, query := range []string{"?all=1", "", "?limit=3", "?all=1&size=1", `?filters={"label":["tier"]}`, `?filters={"status":["created"]}`,
		`?filters={"status":["exited"]}`, `?filters={"exited":["3"]}`, `?filters={"name":["^/plain$"]}`, `?filters={"network":["host"]}`,
		`?filters={"volume":["named"]}`, `?filters={"ancestor":["` + full + `"]}`, `?filters={"publish":["18080"]}`, `?filters={"expose":["90/tcp"]}`,
		`?filters={"before":["killed"]}`, `?filters={"since":["created"]}`, `?filters={"health":["none"],"name":["plain"]}`,
		`?all=1&filters={"exited":["3"]}`, `?filters={"is-task":["true"]}`} {
		for _, v := range versions {
			path := "/v" + v + "/containers/json" + query
			ours, theirs := p.both(t, func(e *engine) any { return byName(t, e.get(t, path), "Names") })
			p.compare(t, "list", path, ours, theirs)
		}
	}
	for _, format := range []string{"{{.Names}}", "{{.Names}} {{.Ports}}", "{{.Names}} {{.Status}}", "{{.Names}}|{{.Command}}|{{.Image}}|{{.Networks}}|{{.LocalVolumes}}|{{.State}}"} {
		ours, theirs := p.must(t, "ps", "-a", "--format", format)
		p.compareText(t, "docker ps --format "+format, ours, theirs)
	}
}

// byName makes a list an object with the names as keys, and keeps the order as
// one more entry, so that one element too many is one difference.
func byName(t *testing.T, list any, key string) map[string]any {
	t.Helper()
	named := map[string]any{}
	var order []string
	for _, element := range list.([]any) {
		if several, ok := element.(map[string]any)[key].([]any); ok {
			slices.SortFunc(several, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		name := fmt.Sprint(element.(map[string]any)[key])
		named[name] = element
		order = append(order, name)
	}
	named["order"] = strings.Join(order, " ")
	return named
}

func (p *pair) compareLines(t *testing.T, kind, what, ours, theirs string) {
	t.Helper()
	split := func(s string) any {
		all := []any{}
		for line := range strings.Lines(s) {
			all = append(all, decode(t, line))
		}
		return byName(t, all, "Names")
	}
	p.compare(t, kind, what, split(ours), split(theirs))
}

// compareText compares lines, in which only how long ago may differ.
func (p *pair) compareText(t *testing.T, what, ours, theirs string) {
	t.Helper()
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	if len(a) != len(b) {
		t.Errorf("%s: %s\n%s", what, ours, theirs)
		return
	}
	for i := range a {
		if x, y := plain(a[i]), plain(b[i]); x != y {
			t.Errorf("%s: %s has %q, %s %q", what, p.ours.name, a[i], p.theirs.name, b[i])
		}
	}
}

func (p *pair) removeAll(t *testing.T) {
	t.Helper()
	p.both(t, func(e *engine) any {
		ids := strings.Fields(e.docker(t, "ps", "-aq").Must(t))
		if len(ids) > 0 {
			e.docker(t, append([]string{"rm", "-fv"}, ids...)...).Must(t)
		}
		return nil
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ours, theirs := p.must(t, "ps", "-aq")
		if ours == "" && theirs == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("containers stay: %s and %s", ours, theirs)
		}
	}
}
