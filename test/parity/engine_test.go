package parity

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

const (
	client    = "/usr/bin/docker" // Debian's docker.io, API 1.41
	peer      = "/usr/sbin/dockerd"
	peerDir   = "/run/parity"
	readyWait = 40 * time.Second
	stopWait  = 20 * time.Second
	diskSize  = "2G"
	// cgroupParent is what the test asks both engines for.
	cgroupParent = "/docker/parity"
)

// engine is one of the two daemons, reached as any client reaches it.
type engine struct {
	name   string
	socket string
	config string // the client's own configuration: an empty directory
	root   string // the data root
	api    *http.Client
}

func newEngine(t *testing.T, name, socket string) *engine {
	e := &engine{name: name, socket: socket, config: t.TempDir()}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	e.api = &http.Client{Transport: transport, Timeout: 60 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return e
}

// docker runs the stock client against the engine.
func (e *engine) docker(t *testing.T, args ...string) lab.Result {
	t.Helper()
	return lab.Run(t, nil, append([]string{client, "--config", e.config, "-H", "unix://" + e.socket}, args...)...)
}

// reply is an answer of the API.
type reply struct {
	status int
	media  string
	raw    string
}

// request sends one request; path begins with the version or with the noun.
func (e *engine) request(t *testing.T, method, path, body string) reply {
	t.Helper()
	req, err := http.NewRequest(method, "http://docker"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := e.api.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", e.name, method, path, err)
	}
	return reply{resp.StatusCode, resp.Header.Get("Content-Type"), string(raw)}
}

// get returns the decoded answer of a request that must succeed.
func (e *engine) get(t *testing.T, path string) any {
	t.Helper()
	r := e.request(t, http.MethodGet, path, "")
	if r.status != http.StatusOK {
		t.Fatalf("%s: GET %s: %d %s", e.name, path, r.status, r.raw)
	}
	return decode(t, r.raw)
}

func decode(t *testing.T, raw string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatalf("%v in %.300s", err, raw)
	}
	return v
}

// startPeer starts dockerd and takes everything of it away at the end.
func startPeer(t *testing.T) *engine {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	image := disk + ".ext4"
	for _, dir := range []string{disk, peerDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// The machine's own /etc/docker/daemon.json must not be read.
	if err := os.WriteFile(peerDir+"/daemon.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"truncate", "-s", diskSize, image}, {"mkfs.ext4", "-q", "-F", image}} {
		lab.Run(t, nil, argv...).Must(t)
	}
	log, err := os.Create(peerDir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	e := newEngine(t, "dockerd", peerDir+"/docker.sock")
	e.root = disk + "/docker"
	// The file system is mounted in dockerd's own namespace and ends with it.
	// Beside v1 hierarchies an almost empty v2 one only confuses this runc.
	script := `set -e
mount -o loop "$1" "$2"; shift 2
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
ip link set lo up
exec "$@"`
	cmd := exec.Command("unshare", "--net", "--mount", "sh", "-c", script, "sh", image, disk,
		peer, "--config-file", peerDir+"/daemon.json", "--data-root", disk+"/docker", "--exec-root", peerDir+"/exec",
		"--pidfile", peerDir+"/pid", "-H", "unix://"+e.socket)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { stopPeer(t, cmd, ended) })
	for deadline := time.Now().Add(readyWait); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("dockerd did not start; its log:\n%s", peerLog())
		default:
		}
		if resp, err := e.api.Get("http://docker/_ping"); err == nil {
			resp.Body.Close()
			return e
		}
	}
	t.Fatalf("dockerd is not ready after %v; its log:\n%s", readyWait, peerLog())
	return nil
}

func peerLog() string {
	raw, _ := os.ReadFile(peerDir + "/log")
	return string(raw)
}

func stopPeer(t *testing.T, cmd *exec.Cmd, ended <-chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(stopWait):
		t.Errorf("dockerd did not end within %v of SIGTERM; its log:\n%s", stopWait, peerLog())
		_ = cmd.Process.Kill()
		<-ended
	}
	// dockerd leaves its parent groups; those still in use are somebody else's and stay.
	for _, pattern := range []string{"/sys/fs/cgroup/*" + cgroupParent, "/sys/fs/cgroup/*/docker"} {
		groups, _ := filepath.Glob(pattern)
		for _, group := range groups {
			if err := syscall.Rmdir(group); err != nil && strings.HasSuffix(group, cgroupParent) {
				t.Errorf("%s stays: %v", group, err)
			}
		}
	}
	if err := os.RemoveAll(peerDir); err != nil {
		t.Error(err)
	}
}
