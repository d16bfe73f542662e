package server_test

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

func TestMaxVersionIsTheClients(t *testing.T) {
	if server.MaxVersion.String() != client.MaxAPIVersion {
		t.Errorf("MaxVersion is %s, the API types are of %s", server.MaxVersion, client.MaxAPIVersion)
	}
}

// dockerBinary is the distribution's client, of version 20.10 on Debian 12. A
// wrapper of the same name may come first in PATH.
const dockerBinary = "/usr/bin/docker"

// docker runs the stock client against the socket.
func docker(t *testing.T, socket, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, dockerBinary, args...)
	cmd.Env = []string{"DOCKER_HOST=unix://" + socket, "HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("docker %v hangs; stdout %q, stderr %q", args, &out, &errs)
	}
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("docker %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestStockDockerClient(t *testing.T) {
	if _, err := exec.LookPath(dockerBinary); err != nil {
		t.Skipf("the stock client is not installed (apt-get install docker.io): %v", err)
	}
	e, _, socket, _ := start(t)
	cases := []struct {
		args, stdin string
		stdout      string // a part of it
		stderr      string
		code        int
	}{
		{"version", "", "1.2.3", "", 0},
		{"info", "", "Storage Driver: overlay2", "", 0},
		{"ps -a", "", "Up 1 second", "", 0},
		{"ps -q", "", "", "", 0},
		{"images", "", "app", "", 0},
		{"create --name x --cap-add NET_ADMIN -p 8080:80 -v /a:/b -e A=b app cmd", "", webID, "", 0},
		{"create nope", "", "", "pull nope: not yet", 1},
		{"inspect web", "", `"IPPrefixLen": 0`, "", 0},
		{"inspect -f {{.Name}} nope", "", "", "No such object: nope", 1},
		{"start web", "", "web", "", 0},
		{"stop web", "", "web", "", 0},
		{"stop tty", "", "tty", "", 0},
		{"kill -s HUP web", "", "web", "", 0},
		{"kill nope", "", "", "No such container: nope", 1},
		{"rm -f web", "", "web", "", 0},
		{"restart web", "", "web", "", 0},
		{"logs web", "", "out\n", "err\n", 0},
		{"exec web cmd", "", "hi\n", "", 7},
		{"exec -d web cmd", "", "", "", 0},
		{"attach --no-stdin tty", "", "attached ", "", 9},
		{"tag app x/y:z", "", "", "", 0},
		{"rmi app", "", "Untagged: app", "", 0},
		{"history app", "", "56 years ago", "", 0},
		{"import - app:2", "a tar", "sha256:1", "", 0},
		{"import - app:2", "broken", "", "unexpected EOF", 1},
		{"network ls", "", "bridge", "", 0},
		{"network inspect bridge", "", `"Containers": {}`, "", 0},
		{"pull debian", "", "", "pull debian: not yet", 1},
		{"top web", "", "PID", "", 0},
		{"pause web", "", "web", "", 0},
		{"pause tty", "", "", "is already paused", 1},
		{"unpause web", "", "web", "", 0},
		{"unpause tty", "", "", "is not paused", 1},
		{"rename web other", "", "", "", 0},
		{"update --memory 64m --restart always web", "", "web", "", 0},
		{"stats --no-stream web", "", "MEM USAGE / LIMIT", "", 0},
		{"container prune -f --filter until=24h", "", "Total reclaimed space: 5B", "", 0},
		{"diff web", "", "D /x\n", "", 0},
		{"volume ls", "", "", "not supported by this version of Sampan", 1},
	}
	for _, tc := range cases {
		t.Run(tc.args, func(t *testing.T) {
			if strings.HasPrefix(tc.args, "attach") {
				e.ended <- container.WaitResult{StatusCode: 9} // the client asks for it after the stream
			}
			stdout, stderr, code := docker(t, socket, tc.stdin, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("exit %d, stdout %q, stderr %q\nwant %d, %q, %q", code, stdout, stderr, tc.code, tc.stdout, tc.stderr)
			}
		})
	}
	h := e.created.HostConfig
	if e.created.Name != "" && e.created.Name != "x" || h == nil {
		t.Fatalf("created %+v", e.created)
	}
}

// The official client of the newest version negotiates, streams and decodes.
func TestOfficialClient(t *testing.T) {
	e, _, socket, _ := start(t)
	c, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	info, err := c.Info(ctx, client.InfoOptions{})
	if err != nil || info.Info.Driver != "overlay2" {
		t.Errorf("info: %+v %v", info, err)
	}
	made, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{Name: "x", Config: &api.Config{Image: "app", Cmd: []string{"a"}}, HostConfig: &api.HostConfig{}})
	if err != nil || made.ID == "" || e.created.Name != "x" {
		t.Errorf("create: %+v %v", made, err)
	}
	logs, err := c.ContainerLogs(ctx, "web", client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, logs); err != nil || stdout.String() != "out\n" || stderr.String() != "err\n" {
		t.Errorf("logs: %q %q %v", &stdout, &stderr, err)
	}
	logs.Close()
	stream, err := c.ExecAttach(ctx, "e1", client.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stdout.Reset()
	if _, err := stdcopy.StdCopy(&stdout, io.Discard, stream.Reader); err != nil || stdout.String() != "hi\n" {
		t.Errorf("exec: %q %v", &stdout, err)
	}
	stream.Close()
	wait := c.ContainerWait(ctx, "web", client.ContainerWaitOptions{Condition: api.WaitConditionNextExit})
	<-e.waits
	e.ended <- container.WaitResult{StatusCode: 5}
	select {
	case r := <-wait.Result:
		if r.StatusCode != 5 {
			t.Errorf("wait: %+v", r)
		}
	case err := <-wait.Error:
		t.Errorf("wait: %v", err)
	}
}
