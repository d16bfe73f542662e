package scenario

import (
	"strings"
	"testing"
)

// --link on the default bridge is Docker's: names in /etc/hosts, variables, a new
// address after a restart; by both clients.
func TestLinks(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			defer c.do("rm", "-f", "web", "db", "other")
			c.do("run", "-d", "--name", "db", "-e", "SECRET=word", "--expose", "5432", busybox, "sleep", "1000").Must(t)
			c.do("run", "-d", "--name", "web", "--link", "db:store", busybox, "sleep", "1000").Must(t)
			address := func() string {
				return c.do("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db").Must(t)
			}
			ip := address()
			env := c.do("exec", "web", "sh", "-c", "export").Must(t)
			for _, want := range []string{"STORE_PORT='tcp://" + ip + ":5432'", "STORE_ENV_SECRET='word'", "STORE_NAME='/web/store'"} {
				if !strings.Contains(env, want) {
					t.Errorf("the environment lacks %s:\n%s", want, env)
				}
			}
			if got := c.do("inspect", "-f", "{{json .HostConfig.Links}}", "web").Must(t); got != `["/db:/web/store"]` {
				t.Errorf("links %s", got)
			}
			if got := c.do("ps", "--no-trunc", "--filter", "name=^db$", "--format", "{{.Names}}").Must(t); got != "db,web/store" {
				t.Errorf("names %q", got)
			}
			// The linked one comes back with another address: the other hears of it.
			c.do("stop", "-t", "0", "db").Must(t)
			if r := c.do("restart", "-t", "0", "web"); r.Code == 0 || !strings.Contains(r.Err, "Cannot link to a non running container: /db AS /web/store") {
				t.Errorf("a start beside one that does not run: %d %q", r.Code, r.Err)
			}
			c.do("start", "db").Must(t)
			c.do("start", "web").Must(t)
			c.do("stop", "-t", "0", "db").Must(t)
			c.do("run", "-d", "--name", "other", busybox, "sleep", "1000").Must(t)
			c.do("start", "db").Must(t)
			hosts := c.do("exec", "web", "cat", "/etc/hosts").Must(t)
			if !strings.Contains(hosts+"\n", address()+"\tstore\n") {
				t.Errorf("after a restart at %s the hosts are\n%s", address(), hosts)
			}
			c.do("rename", "db", "base").Must(t)
			if got := c.do("inspect", "-f", "{{json .HostConfig.Links}}", "web").Must(t); got != `["/base:/web/store"]` {
				t.Errorf("links after a rename %s", got)
			}
			c.do("rename", "base", "db").Must(t)
			wrongLinks(t, c)
			c.do("rm", "--link", "web/store").Must(t)
			if got := c.do("inspect", "-f", "{{json .HostConfig.Links}}", "web").Must(t); got != "[]" && got != "null" {
				t.Errorf("links after their removal %s", got)
			}
		})
	}
	d.Stop()
	d.Restart("--icc=false")
	d.Sampan("run", "-d", "--name", "db", busybox, "sleep", "1000").Must(t)
	if r := d.Sampan("run", "--rm", "--link", "db", busybox, "true"); r.Code != 125 || !strings.Contains(r.Err, "--icc=false") {
		t.Errorf("without communication: %d %q", r.Code, r.Err)
	}
}

func wrongLinks(t *testing.T, c client) {
	t.Helper()
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"could not get container for nobody", []string{"run", "--rm", "--link", "nobody", busybox, "true"}},
		{"links", []string{"run", "--rm", "--network", "host", "--link", "db", busybox, "true"}},
		{"bad format for links", []string{"run", "--rm", "--link", "db:a:b", busybox, "true"}},
		{"cannot remove the default link name", []string{"rm", "--link", "web"}},
		{"web/nope", []string{"rm", "--link", "web/nope"}},
	} {
		if r := c.do(tc.args...); r.Code == 0 || !strings.Contains(r.Err, tc.want) {
			t.Errorf("%q: exit %d, %q", tc.args, r.Code, r.Err)
		}
	}
}
