package scenario

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

const composeFile = `version: "3.9"
services:
  web:
    image: busybox:test
    command: ["sh", "-c", "trap 'exit 0' TERM; mkdir -p /srv; hostname > /srv/index.html; echo web is up; httpd -f -p 80 -h /srv & wait"]
    networks:
      front: {aliases: [site]}
      back: {}
    ports: ["127.0.0.1:18080:80"]
    depends_on:
      db: {condition: service_healthy}
  db:
    image: busybox:test
    command: ["sh", "-c", "trap 'exit 0' TERM; echo row >> /data/table; echo db is up; httpd -f -p 5432 -h /data & wait"]
    networks: [back]
    volumes: ["data:/data"]
    healthcheck: {test: ["CMD", "busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:5432/table"], interval: 1s, timeout: 2s, retries: 10}
  worker:
    image: busybox:test
    command: ["sh", "-c", "trap 'exit 0' TERM; hostname > /tmp/index.html; httpd -f -p 80 -h /tmp & wait"]
    networks: [back]
networks:
  front: {}
  back: {internal: true}
volumes:
  data: {}
`

// composer is one version of Compose on one project.
type composer struct {
	t       *testing.T
	program string
	dir     string
}

func (c *composer) run(args ...string) lab.Result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lab.Scale(2*time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, c.program, append([]string{"-p", "shop"}, args...)...)
	cmd.Dir = c.dir
	// The stock client's library finds our socket by the variable alone.
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix:///run/sampan/sampan.sock", "HOME="+c.dir, "COMPOSE_PARALLEL_LIMIT=4")
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if ctx.Err() != nil {
		c.t.Fatalf("%v did not end; it printed:\n%s%s", args, out.String(), errOut.String())
	}
	if err != nil && cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return lab.Result{Out: out.String(), Err: errOut.String(), Code: cmd.ProcessState.ExitCode()}
}

func (c *composer) must(args ...string) string {
	c.t.Helper()
	r := c.run(args...)
	if r.Code != 0 {
		c.t.Fatalf("compose %s: exit %d\n%s%s", strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return r.Out + r.Err
}

// in runs a command in a service's first container.
func (c *composer) in(service string, argv ...string) string {
	c.t.Helper()
	r := c.run(append([]string{"exec", "-T", service}, argv...)...)
	if r.Code != 0 {
		c.t.Fatalf("exec in %s: %v: exit %d\n%s%s", service, argv, r.Code, r.Out, r.Err)
	}
	return strings.TrimSpace(r.Out)
}

// TestCompose brings up a project of three services with both versions of
// Compose, unchanged, and uses it as people do.
func TestCompose(t *testing.T) {
	v2, err := filepath.Abs("../../.cache/compose/docker-compose")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []struct{ name, program string }{
		{"v1", "/usr/bin/docker-compose"}, {"v2", v2},
	} {
		t.Run(version.name, func(t *testing.T) {
			if _, err := os.Stat(version.program); err != nil {
				t.Skipf("%s is not there: test/compose.sh builds Compose v2, in minutes; make test-soak does that", version.program)
			}
			d := start(t)
			c := &composer{t: t, program: version.program, dir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(c.dir, "docker-compose.yml"), []byte(composeFile), 0o600); err != nil {
				t.Fatal(err)
			}
			c.must("config", "-q")
			c.must("up", "-d")
			composeIsUp(t, d, c)
			composeResolves(t, c)
			composeScales(t, c)
			composeKeepsData(t, d, c)
			composeRecreates(t, c)
			composeAttached(t, c)
			composeGoes(t, d, c)
		})
	}
}

func composeIsUp(t *testing.T, d *lab.Daemon, c *composer) {
	t.Helper()
	if n := len(strings.Fields(c.must("ps", "-q"))); n != 3 {
		t.Errorf("ps -q lists %d containers, want 3", n)
	}
	if out := c.must("ps"); !strings.Contains(out, "healthy") && !strings.Contains(out, "Up") {
		t.Errorf("ps: %s", out)
	}
	for _, line := range []string{"web is up", "db is up"} {
		if out := c.must("logs"); !strings.Contains(out, line) {
			t.Errorf("logs lack %q: %s", line, out)
		}
	}
	lab.Eventually(t, 5*time.Second, "the published port answers", func() bool {
		answer, err := http.Get("http://127.0.0.1:18080/")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return strings.TrimSpace(string(body)) == c.in("web", "hostname")
	})
	// A second up finds everything as it should be and makes nothing anew.
	before := d.Sampan("ps", "-q", "--no-trunc").Must(t)
	c.must("up", "-d")
	if after := d.Sampan("ps", "-q", "--no-trunc").Must(t); !sameLines(before, after) {
		t.Errorf("a second up made containers anew: %s became %s", before, after)
	}
}

func composeResolves(t *testing.T, c *composer) {
	t.Helper()
	c.in("web", "sh", "-ec", "for name in db worker web site db.shop_back; do busybox nslookup -type=a $name; done")
	if out := c.in("web", "busybox", "wget", "-q", "-O", "-", "http://db:5432/table"); out != "row" {
		t.Errorf("web reads %q from db", out)
	}
	if out := c.in("web", "cat", "/etc/resolv.conf"); !strings.Contains(out, "nameserver 127.0.0.11") || strings.Count(out, "nameserver") != 1 {
		t.Errorf("resolv.conf: %s", out)
	}
	// site is an alias on a network that db is not in.
	if r := c.run("exec", "-T", "db", "busybox", "nslookup", "-type=a", "site"); r.Code == 0 {
		t.Errorf("db finds an alias of a network it is not in: %s", r.Out)
	}
}

func composeScales(t *testing.T, c *composer) {
	t.Helper()
	c.must("up", "-d", "--scale", "worker=3")
	const rounds = 12
	// answers asks again and again, and returns the addresses of each answer.
	answers := func() (all [][]string) {
		script := fmt.Sprintf("for i in $(seq %d); do busybox nslookup -type=a worker; done", rounds)
		for line := range strings.Lines(c.in("web", "sh", "-ec", script)) {
			if strings.HasPrefix(line, "Server:") {
				all = append(all, nil)
			} else if a, ok := strings.CutPrefix(strings.TrimSpace(line), "Address: "); ok {
				all[len(all)-1] = append(all[len(all)-1], a)
			}
		}
		return all
	}
	first := map[string]int{}
	for _, answer := range answers() {
		if len(answer) != 3 {
			t.Fatalf("worker has the addresses %v, want three", answer)
		}
		first[answer[0]]++
	}
	for a, n := range first {
		if len(first) != 3 || n != rounds/3 {
			t.Errorf("%s comes first %d times of %d; all: %v", a, n, rounds, first)
		}
	}
	out := c.in("web", "sh", "-ec", "for i in $(seq 30); do busybox wget -q -O - http://worker/; done")
	if hosts := slices.Compact(slices.Sorted(slices.Values(strings.Fields(out)))); len(hosts) < 2 {
		t.Errorf("all requests to worker reach one replica: %v", hosts)
	}
	c.must("up", "-d", "--scale", "worker=1")
	if all := answers(); len(all) != rounds || len(all[0]) != 1 {
		t.Errorf("after scaling down worker has the addresses %v", all)
	}
}

// composeRecreates changes a service; its container is made anew on its volume.
func composeRecreates(t *testing.T, c *composer) {
	t.Helper()
	changed := strings.Replace(composeFile, "volumes: [\"data:/data\"]", "volumes: [\"data:/data\"]\n    environment: {EDITION: second}", 1)
	if err := os.WriteFile(filepath.Join(c.dir, "docker-compose.yml"), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	before := c.must("ps", "-q", "db")
	c.must("up", "-d")
	if after := c.must("ps", "-q", "db"); after == before {
		t.Error("a changed service kept its container")
	}
	if out := c.in("db", "sh", "-c", "echo $EDITION; cat /data/table"); out != "second\nrow\nrow\nrow\nrow\nrow" {
		t.Errorf("the changed service has %q", out)
	}
}

// composeAttached runs up in the foreground, which follows logs and events, until
// somebody stops the project.
func composeAttached(t *testing.T, c *composer) {
	t.Helper()
	c.must("stop")
	done := make(chan lab.Result, 1)
	go func() { done <- c.run("up") }()
	lab.Eventually(t, 30*time.Second, "up starts the services again", func() bool {
		return c.run("exec", "-T", "web", "true").Code == 0
	})
	c.must("stop")
	if r := <-done; !strings.Contains(r.Out, "web is up") || strings.Contains(r.Err, "Traceback") {
		t.Errorf("up in the foreground: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

func composeKeepsData(t *testing.T, d *lab.Daemon, c *composer) {
	t.Helper()
	c.must("restart", "db")
	if out := c.in("db", "cat", "/data/table"); out != "row\nrow" {
		t.Errorf("after a restart the table is %q", out)
	}
	c.must("stop")
	c.must("start")
	c.must("pause", "worker")
	c.must("unpause", "worker")
	c.must("top")
	c.must("kill", "worker")
	c.must("rm", "-f", "worker")
	c.must("down")
	if out := d.Sampan("ps", "-aq").Must(t); out != "" {
		t.Errorf("containers after down: %s", out)
	}
	if out := d.Sampan("network", "ls", "--format", "{{.Name}}").Must(t); strings.Contains(out, "shop") {
		t.Errorf("networks after down: %s", out)
	}
	c.must("up", "-d")
	if out := c.in("db", "cat", "/data/table"); out != "row\nrow\nrow\nrow" {
		t.Errorf("after down and up the table is %q", out)
	}
}

func composeGoes(t *testing.T, d *lab.Daemon, c *composer) {
	t.Helper()
	c.must("down", "-v", "--remove-orphans")
	for what, list := range map[string][]string{"containers": {"ps", "-aq"}, "volumes": {"volume", "ls", "-q"}} {
		if out := d.Sampan(list...).Must(t); out != "" {
			t.Errorf("%s after down -v: %s", what, out)
		}
	}
	if out := d.Sampan("network", "ls", "--format", "{{.Name}}").Must(t); !sameLines(out, "bridge\nhost\nnone") {
		t.Errorf("networks after down -v: %s", out)
	}
}

func sameLines(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return fmt.Sprint(x) == fmt.Sprint(y)
}
