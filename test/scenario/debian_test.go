package scenario

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// A real Debian with nginx, published, serves this machine on both loopbacks
// and another machine.
func TestDebianServesAPage(t *testing.T) {
	d := lab.Start(t)
	d.Import(lab.Cache(t, "debian-nginx.tar"), debian)
	other := lab.Machine(t, "192.0.2.1/24", "192.0.2.2/24")
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			c.do("run", "-d", "--name", "web", "-p", "8080:80", debian, "nginx", "-g", "daemon off;").Must(t)
			for _, url := range []string{"http://127.0.0.1:8080/", "http://[::1]:8080/", "http://192.0.2.1:8080/"} {
				var err error
				for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
					if err = page(url); err == nil {
						break
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if r := other.Run(t, "curl", "-sSf", "-m", "5", "http://192.0.2.1:8080/"); r.Code != 0 {
				t.Errorf("from another machine: %s", r.Err)
			}
			if out := c.do("exec", "web", "bash", "-c", "cat /etc/os-release | grep ^ID=").Must(t); out != "ID=debian" {
				t.Errorf("exec = %q", out)
			}
			c.do("stop", "web").Must(t)
			if out := c.do("inspect", "-f", "{{.State.ExitCode}}", "web").Must(t); out != "0" {
				t.Errorf("exit code after stop = %q, want 0", out)
			}
			c.do("rm", "web").Must(t)
			if err := page("http://127.0.0.1:8080/"); err == nil {
				t.Error("the page is still served")
			}
		})
	}
}

func page(url string) error {
	hc := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := hc.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Server"), "nginx") {
		return &net.AddrError{Err: "not nginx: " + resp.Status, Addr: url}
	}
	return nil
}
