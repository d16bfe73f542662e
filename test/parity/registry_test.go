package parity

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/sampan-containers/sampan/test/hostile"
)

// unsteady are lines of progress that depend on time, and digests that dockerd's
// own compression makes.
var unsteady = regexp.MustCompile(`(?m)^[0-9a-f]{12}: (Waiting|Verifying Checksum|Download complete|Preparing|Pushing|Mounted from .*)\n|^.*: digest: sha256:.*\n|^WARNING! Your password will be stored unencrypted in .*\n`)

// noise is content that no image on the machine has.
func noise(seed string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256([]byte(fmt.Sprint(seed, i)))
		out = append(out, sum[:]...)
	}
	return out
}

// relay makes the registry's address answer in dockerd's network namespace, too.
func relay(t *testing.T, address string) {
	t.Helper()
	raw, err := os.ReadFile(peerDir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan error)
	var l net.Listener
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		ns, err := netns.GetFromPath("/proc/" + strings.TrimSpace(string(raw)) + "/ns/net")
		if err == nil {
			err = netns.Set(ns)
		}
		if err == nil {
			l, err = net.Listen("tcp", address)
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer out.Close()
				go func() {
					_, _ = io.Copy(out, in)
					out.Close()
				}()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
}

// compareRegistry pulls and pushes with both engines from and to one registry.
func compareRegistry(t *testing.T, p *pair) {
	r := hostile.New(t, "")
	relay(t, r.Host())
	var layers []hostile.Layer
	for _, name := range []string{"one", "two"} {
		layers = append(layers, hostile.Gzip(t, hostile.Tar(t, map[string][]byte{name: noise(name, 50_000)}, name)))
	}
	img := r.Add(t, "v1", layers, nil)
	r.Add(t, "v2", layers[:1], nil)
	repo := r.Host() + "/team/web"
	for _, args := range [][]string{
		{"pull", repo + ":v1"}, {"pull", repo + ":v1"}, {"pull", "-q", repo + ":v1"}, {"pull", repo + "@" + img.Manifest.String()},
		{"pull", repo + ":none"}, {"pull", repo + "@sha256:" + strings.Repeat("a", 64)}, {"pull", "UPPER"}, {"pull", repo + "@sha256:aaaa"}, {"pull", ""},
		{"pull", "-a", repo},
		{"image", "inspect", "-f", "{{.Id}} {{.RepoTags}} {{.RepoDigests}}", repo + ":v1"},
		{"tag", repo + ":v1", r.Host() + "/copy:1"}, {"push", r.Host() + "/copy:1"}, {"push", r.Host() + "/copy:1"},
		{"push", "-q", r.Host() + "/copy:1"}, {"push", "-a", r.Host() + "/copy"},
		{"push", r.Host() + "/none:1"}, {"push", r.Host() + "/none"}, {"push", ""},
		{"login", "-u", "u", "-p", "p", r.Host()}, {"logout", r.Host()},
		{"rmi", "-f", repo + ":v1", repo + ":v2"},
	} {
		ours, theirs := p.docker(t, args...)
		what := "docker " + strings.Join(args, " ")
		if ours.Code != theirs.Code {
			t.Errorf("%s: %s ends with %d, %s with %d", what, p.ours.name, ours.Code, p.theirs.name, theirs.Code)
		}
		steady := func(text string) string { return sortLines(unsteady.ReplaceAllString(text, "")) }
		p.compareText(t, what, steady(ours.Out), steady(theirs.Out))
		p.compareText(t, what, steady(ours.Err), steady(theirs.Err))
	}
	for _, method := range []string{
		"GET /v1.41/distribution/" + repo + ":none/json", "GET /v1.41/images/search?term=x&limit=500",
		"POST /v1.41/images/create?fromImage=" + repo + "&tag=none", "POST /v1.41/images/create?fromImage=UPPER&tag=1",
	} {
		verb, path, _ := strings.Cut(method, " ")
		ours, theirs := p.both(t, func(e *engine) any { return e.request(t, verb, path, "").status })
		if ours != theirs {
			t.Errorf("%s: %s answers %v, %s %v", method, p.ours.name, ours, p.theirs.name, theirs)
		}
	}
}
