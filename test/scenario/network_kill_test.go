package scenario

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/lab"
)

// The daemon dies again and again while four clients make networks and containers
// in them, connect, disconnect, publish and remove. A download through a published
// port never stops, the running containers keep their addresses, each round leaves
// nothing behind that the next start does not mend, and the end is as clean as the
// beginning.
func TestNetworksSurviveKills(t *testing.T) {
	d := start(t)
	d.Sampan("network", "create", "shared").Must(t)
	d.Sampan("run", "-d", "--name", "source", "--network", "shared", "-p", "18600:80", busybox, "sh", "-c",
		// nc serves one connection; a first one that comes to nothing must not be its last.
		`printf 'HTTP/1.0 200 OK\r\n\r\n' >/tmp/r; while :; do { cat /tmp/r; while echo line; do sleep 0.01; done; } | nc -l -p 80; done`).Must(t)
	address := d.Sampan("inspect", "-f", "{{.NetworkSettings.Networks.shared.IPAddress}}", "source").Must(t)
	var received atomic.Int64
	ended := make(chan error, 1)
	lab.Eventually(t, 10*time.Second, "the download begins", func() bool {
		resp, err := http.Get("http://127.0.0.1:18600/")
		if err != nil {
			return false
		}
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := resp.Body.Read(buf)
				received.Add(int64(n))
				if err != nil {
					ended <- err
					return
				}
			}
		}()
		return true
	})
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() { networkLoad(t, d, i, stop) })
	}
	for range counts.Of("network.kill") {
		time.Sleep(time.Duration(20+rand.IntN(400)) * time.Millisecond)
		d.Kill()
		before := received.Load()
		lab.Eventually(t, 10*time.Second, "the download goes on while no daemon runs", func() bool { return received.Load() > before })
		d.Restart()
		if now := d.Sampan("inspect", "-f", "{{.NetworkSettings.Networks.shared.IPAddress}}", "source").Must(t); now != address {
			t.Fatalf("the address %s became %s", address, now)
		}
		select {
		case err := <-ended:
			t.Fatalf("the download was cut: %v", err)
		default:
		}
	}
	close(stop)
	clients.Wait()
	d.Sampan("rm", "-f", "source").Must(t)
	if err := <-ended; err == nil {
		t.Error("the download did not end with its container")
	} else if err != io.EOF && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "EOF") {
		t.Logf("the download ended with %v", err)
	}
	if ids := strings.Fields(d.Sampan("ps", "-aq").Must(t)); len(ids) > 0 {
		d.Sampan(append([]string{"rm", "-f"}, ids...)...).Must(t)
	}
	d.Sampan("network", "prune", "-f").Must(t)
	d.Kill()
	d.Restart()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s\n%s\n%s", lab.Run(t, nil, "ip", "-o", "link").Out, lab.Run(t, nil, "nft", "list", "table", "inet", "sampan0").Out, d.Sampan("network", "ls").Out, d.Sampan("ps", "-a").Out)
		}
	})
	lab.Eventually(t, 10*time.Second, "no bridge, link or port is left", func() bool {
		links := lab.Run(t, nil, "ip", "-o", "link").Must(t)
		rules := lab.Run(t, nil, "nft", "list", "table", "inet", "sampan0").Must(t)
		return !strings.Contains(links, "br-") && !strings.Contains(links, "veth") && !strings.Contains(rules, "br-") && !strings.Contains(rules, "tcp . ")
	})
	if out := d.Sampan("network", "ls", "-q").Must(t); len(strings.Fields(out)) != 3 {
		t.Errorf("networks left:\n%s", out)
	}
}

// networkLoad is one client: what fails because the daemon is away is tried again
// in the next turn.
func networkLoad(t *testing.T, d *lab.Daemon, client int, stop <-chan struct{}) {
	network, name := fmt.Sprintf("net%d", client), fmt.Sprintf("load%d", client)
	for turn := 0; ; turn++ {
		for _, args := range [][]string{
			{"network", "create", network},
			{"run", "-d", "--name", name, "--stop-timeout", "0", "--network", network, "-p", fmt.Sprintf("%d:80", 18610+client), busybox, "sleep", "1000"},
			{"network", "connect", "shared", name},
			{"port", "add", fmt.Sprint(18620 + client)},
			{"network", "disconnect", network, name},
			{"network", "connect", network, name},
			{"stop", "-t", "0", name},
			{"start", name},
			{"network", "disconnect", "shared", name},
			{"rm", "-f", name},
			{"network", "rm", network},
		} {
			select {
			case <-stop:
				return
			default:
			}
			if args[0] == "port" { // not by our client, which would start a daemon
				lab.Run(t, nil, "curl", "-s", "--unix-socket", "/run/sampan/sampan.sock", "-H", "Content-Type: application/json",
					"-d", `{"Add":{"81/tcp":[{"HostPort":"`+args[2]+`"}]}}`, "http://x/sampan/containers/"+name+"/ports")
				continue
			}
			d.Docker(args...)
		}
	}
}
