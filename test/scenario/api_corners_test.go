package scenario

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

// ask sends a request as curl does and returns the answer with its head.
func ask(t *testing.T, method, path, body string) string {
	t.Helper()
	argv := []string{"curl", "-si", "-m", "20", "--unix-socket", "/run/sampan/sampan.sock", "-X", method, "http://x" + path}
	if body != "" {
		argv = append(argv, "-H", "Content-Type: application/json", "-d", body)
	}
	r := lab.Run(t, nil, argv...)
	if r.Code != 0 {
		t.Fatalf("%s %s: curl ended with %d: %s", method, path, r.Code, r.Err)
	}
	return r.Out
}

// The request that starts an exec says whether its stream has frames, with and without
// a terminal: a client that reads frames must not get raw bytes.
func TestExecFramesFollowTheStart(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "host", busybox, "sleep", "1000").Must(t)
	for _, tty := range []string{"true", "false"} {
		for _, raw := range []bool{true, false} {
			answer := ask(t, "POST", "/v1.45/containers/host/exec", `{"AttachStdout":true,"Tty":`+tty+`,"Cmd":["echo","hello"]}`)
			_, body, _ := strings.Cut(answer, "\r\n\r\n")
			var made struct{ ID string }
			if err := json.Unmarshal([]byte(body), &made); err != nil {
				t.Fatalf("%v in %q", err, answer)
			}
			begin := `{"Tty":false}`
			if raw {
				begin = `{"Tty":true}`
			}
			_, stream, _ := strings.Cut(ask(t, "POST", "/v1.45/exec/"+made.ID+"/start", begin), "\r\n\r\n")
			if framed := strings.HasPrefix(stream, "\x01\x00\x00\x00\x00\x00\x00"); framed == raw || !strings.Contains(stream, "hello") {
				t.Errorf("Tty %s, started with %s: the stream is %q", tty, begin, stream)
			}
		}
	}
}

// An empty directory of a volume gets what the image has at its place, as an empty
// volume does.
func TestSubpathIsFilled(t *testing.T) {
	d := start(t)
	d.Sampan("run", "--rm", "-v", "data:/data", busybox, "mkdir", "-p", "/data/empty", "/data/full/x").Must(t)
	for subpath, want := range map[string]bool{"empty": true, "full": false} {
		r := d.Sampan("run", "--rm", "--mount", "type=volume,source=data,target=/etc,volume-subpath="+subpath, busybox, "sh", "-c", "test -f /etc/passwd")
		if got := r.Code == 0; got != want {
			t.Errorf("%s: the image's files are there = %v, want %v: %s", subpath, got, want, r.Err)
		}
	}
	if r := d.Sampan("run", "--rm", "--mount", "type=volume,source=data,target=/etc,volume-nocopy,volume-subpath=empty", busybox, "true"); r.Code != 0 {
		t.Errorf("with volume-nocopy: %d %s", r.Code, r.Err)
	}
}

// A container that was created with a networking configuration alone is in those
// networks and not in the default one too.
func TestNetworksOfTheRequestAlone(t *testing.T) {
	d := start(t)
	d.Sampan("network", "create", "one").Must(t)
	answer := ask(t, "POST", "/v1.44/containers/create?name=alone", `{"Image":"`+busybox+`","Cmd":["sleep","1000"],"NetworkingConfig":{"EndpointsConfig":{"one":{}}}}`)
	if !strings.Contains(answer, "201 Created") {
		t.Fatalf("create: %s", answer)
	}
	for _, begun := range []bool{false, true} {
		if begun {
			d.Sampan("start", "alone").Must(t)
		}
		if got := d.Sampan("inspect", "-f", "{{range $name, $e := .NetworkSettings.Networks}}{{$name}} {{end}}", "alone").Must(t); strings.TrimSpace(got) != "one" {
			t.Errorf("started = %v: the container is in %q, want one", begun, got)
		}
	}
	if links := d.Sampan("exec", "alone", "ls", "/sys/class/net").Must(t); strings.Contains(links, "eth1") {
		t.Errorf("the container has %q", links)
	}
}

// Docker's API has the list of networks at both paths.
func TestNetworksWithASlash(t *testing.T) {
	start(t)
	for _, path := range []string{"/networks", "/networks/", "/v1.41/networks/"} {
		if answer := ask(t, "GET", path, ""); !strings.Contains(answer, "200 OK") || !strings.Contains(answer, `"Name":"bridge"`) {
			t.Errorf("%s: %.200q", path, answer)
		}
	}
}
