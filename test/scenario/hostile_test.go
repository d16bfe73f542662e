package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/compat"
	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/lab"
)

const (
	hostileSeed = 4
	// hostileMemory is what the daemon may ever have needed: bodies are bounded at
	// 4 MiB each, and eight clients ask at a time.
	hostileMemory = 256 << 10 // KiB
	hostileWait   = 3 * time.Second
	// slowWait is the server's bound on a body, with some room.
	slowWait = 45 * time.Second
)

// TestHostileRequests sends every route of the API what no client would: wrong
// types, huge numbers, missing fields, unknown ids, deep JSON, slow and broken
// bodies. Each must get an answer below 500 with a sentence, or 501.
func TestHostileRequests(t *testing.T) {
	d := start(t)
	// It ends at SIGTERM: a queue of stops of ten seconds each would look like a hang.
	d.Sampan("run", "-d", "--init", "--name", "victim", busybox, "sleep", "100000").Must(t)
	routes, err := compat.Routes("../../server/testdata/api.tsv")
	if err != nil {
		t.Fatal(err)
	}
	slow := slowBodies(t)
	total := counts.Of("requests.hostile")
	const width = 8
	found := make(chan string, total)
	done := make(chan int)
	for w := range width {
		go func() {
			g := &generator{rand: rand.New(rand.NewPCG(hostileSeed, uint64(w))), routes: routes}
			n := 0
			for ; n < total/width+1; n++ {
				if problem := g.one(); problem != "" {
					found <- problem
				}
			}
			done <- n
		}()
	}
	sent := 0
	for range width {
		sent += <-done
	}
	close(found)
	said := map[string]bool{}
	for problem := range found {
		if key := regexp.MustCompile(`[0-9a-f]{12,}|"[^"]*"`).ReplaceAllString(problem, ""); !said[key] {
			said[key] = true
			t.Error(problem)
		}
	}
	for range slowClients {
		select {
		case problem := <-slow:
			if problem != "" {
				t.Error(problem)
			}
		case <-time.After(lab.Scale(slowWait)):
			t.Fatal("a client that sends its body slowly is not cut off")
		}
	}
	t.Logf("%d requests", sent)
	if d.Sampan("ps").Code != 0 || strings.Contains(d.Log(), "panicked") {
		t.Errorf("the daemon is not well")
	}
	if peak := peakMemory(t, d.Pid()); peak > hostileMemory {
		t.Errorf("the daemon needed %d KiB, more than %d", peak, hostileMemory)
	} else {
		t.Logf("the daemon needed %d MiB at most", peak>>10)
	}
}

func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+)`).FindSubmatch(raw)
	if m == nil {
		t.Fatal("no VmHWM")
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// generator makes requests, the same ones for the same seed.
type generator struct {
	rand   *rand.Rand
	routes []compat.Route
}

func pick[T any](g *generator, list []T) T { return list[g.rand.IntN(len(list))] }

var (
	ids = []string{"absent", "victim", strings.Repeat("f", 64), strings.Repeat("a", 5000), "..", "%2e%2e", "%00", "a%00b", "%ff%fe", "a%20b", "0", "-1",
		"sha256:" + strings.Repeat("0", 64), "%F0%9F%92%A5", "a:b@c", "%2Fetc%2Fpasswd", "{id}", "'", "$(id)", "%0a"}
	values = []string{"", "0", "1", "-1", "true", "false", "x", "99999999999999999999999", "-99999999999999999999999", "1e400", "0x7f", "NaN", "\x00", "\xff",
		strings.Repeat("9", 4000), "{", "{}", "[]", `{"a":1}`, `{"label":[1,2]}`, `{"label":{"a":true}}`, `{"status":["nonsense"]}`, `{"until":["x"]}`,
		`{"before":["absent"]}`, `{"id":"x"}`, strings.Repeat("[", 20000), `["` + strings.Repeat("a", 20000) + `"]`, "../../etc/passwd", "1.5", "2147483648", "\n"}
	deep    = strings.Repeat("[", 1e5)
	deepMap = strings.Repeat(`{"a":`, 1e5)
)

// fields are names that bodies of the API have; their values are drawn.
var fields = strings.Fields(`Image Cmd Entrypoint Env Labels HostConfig NetworkingConfig Memory MemorySwap CpuShares NanoCpus CpuQuota PidsLimit Binds Mounts
	Ulimits Devices DeviceRequests PortBindings RestartPolicy LogConfig Tmpfs ShmSize Sysctls SecurityOpt CapAdd NetworkMode IpcMode PidMode BlkioWeight
	BlkioWeightDevice OomScoreAdj Name Driver DriverOpts Detach Tty User Privileged WorkingDir AttachStdin Healthcheck ExposedPorts Volumes StopTimeout StopSignal
	Hostname Domainname MacAddress ConsoleSize Annotations Runtime Isolation MaskedPaths Init Links VolumesFrom ExtraHosts Dns Config Container Force IPAM`)

// value makes a JSON value of any kind; nested objects have fields of the API.
func (g *generator) value(depth int) any {
	switch n := g.rand.IntN(11); {
	case n == 0:
		return nil
	case n == 1:
		return g.rand.IntN(2) == 0
	case n == 2:
		return json.Number(pick(g, []string{"0", "-1", "1", "1e308", "9223372036854775807", "-9223372036854775808", "99999999999999999999", "0.5", "2147483648"}))
	case n <= 5:
		return pick(g, []string{"", "x", busybox, "victim", "container:victim", "\x00", "/", "/a:/b:c:d", "..", strings.Repeat("x", 3000), "host", "99999999999", "1s", "é\u202e", "a=b"})
	case n <= 7 && depth > 0:
		list := make([]any, g.rand.IntN(4))
		for i := range list {
			list[i] = g.value(depth - 1)
		}
		return list
	case depth > 0:
		object := map[string]any{}
		for range g.rand.IntN(6) {
			object[pick(g, fields)] = g.value(depth - 1)
		}
		return object
	}
	return map[string]any{}
}

// body makes a body and its type.
func (g *generator) body() (io.Reader, string) {
	const js = "application/json"
	switch g.rand.IntN(12) {
	case 0:
		return nil, ""
	case 1:
		return strings.NewReader(""), js
	case 2:
		return strings.NewReader(pick(g, []string{deep, deepMap, `{"HostConfig":` + deep, `{"x":` + deep + strings.Repeat("]", 1e5) + "}"})), js
	case 3:
		garbage := make([]byte, g.rand.IntN(4000))
		for i := range garbage {
			garbage[i] = byte(g.rand.Uint32())
		}
		return bytes.NewReader(garbage), pick(g, []string{js, "application/x-tar", "text/plain", "", "a/b/c", js + "; charset=\xff"})
	case 4:
		return strings.NewReader(pick(g, []string{"null", "[]", "1", `"x"`, "{", `{"Image":`, "{} {}", "{}x", "\ufeff{}"})), js
	}
	object := map[string]any{"Image": busybox}
	if g.rand.IntN(3) == 0 {
		delete(object, "Image")
	}
	for range 1 + g.rand.IntN(5) {
		object[pick(g, fields)] = g.value(3)
	}
	if g.rand.IntN(2) == 0 {
		host := map[string]any{}
		for range 1 + g.rand.IntN(5) {
			host[pick(g, fields)] = g.value(2)
		}
		object["HostConfig"] = host
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return strings.NewReader("{"), js
	}
	return bytes.NewReader(raw), js
}

var pathVariable = regexp.MustCompile(`\{\w+\}`)

// one sends one request and returns what is wrong with its answer.
func (g *generator) one() string {
	r := pick(g, g.routes)
	path := pathVariable.ReplaceAllStringFunc(r.Path, func(string) string { return pick(g, ids) })
	query := url.Values{}
	for _, name := range r.Query {
		if g.rand.IntN(2) == 0 {
			query.Add(name, pick(g, values))
		}
	}
	raw := query.Encode()
	if g.rand.IntN(20) == 0 {
		raw += "&%zz=%"
	}
	version := pick(g, []string{"", "/v1.24", "/v1.30", "/v1.41", "/v1.56", "/v1.56", "/v1.99", "/v0.1", "/v1.x"})
	body, media := g.body()
	method := r.Method
	if g.rand.IntN(30) == 0 {
		method = pick(g, []string{"PATCH", "DELETE", "PUT", "GET", "POST", "BREW"})
	}
	request := method + " " + version + path + "?" + raw
	ctx, cancel := context.WithTimeout(context.Background(), hostileWait)
	defer cancel()
	status, text, err := send(ctx, method, version+path, raw, media, body)
	short := func(s string) string { return s[:min(len(s), 400)] }
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		if streams(path) {
			return ""
		}
		return "no answer in time: " + short(request)
	case err != nil:
		return fmt.Sprintf("%v: %s", err, short(request))
	case status >= 500 && status != http.StatusNotImplemented && status != http.StatusServiceUnavailable && !known500(text):
		return fmt.Sprintf("%d %s: %s", status, short(text), short(request))
	case status >= 400 && method != http.MethodHead && len(strings.Fields(text)) < 3:
		return fmt.Sprintf("%d without a sentence: %q: %s", status, short(text), short(request))
	}
	return ""
}

// streams tells a route whose answer may go on.
func streams(path string) bool {
	for _, end := range []string{"/events", "/logs", "/stats", "/wait", "/attach", "/attach/ws", "/start", "/create", "/profile", "/trace", "/get", "/export", "/df"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// known500 are what Docker answers 500 to as well, and clients know: a container that is not
// paused, and a registry that cannot be reached, which none can here.
func known500(text string) bool {
	hub := strings.Contains(text, `https://registry-1.docker.io/v2/`) || strings.Contains(text, `https://index.docker.io/v1/search`)
	return strings.Contains(text, "is not paused") || hub && strings.Contains(text, "connect: network is unreachable")
}

// send speaks HTTP by hand: net/http refuses to send what is to be sent here.
func send(ctx context.Context, method, path, query, media string, body io.Reader) (int, string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", "/run/sampan/sampan.sock")
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	var content []byte
	if body != nil {
		if content, err = io.ReadAll(body); err != nil {
			return 0, "", err
		}
	}
	head := method + " " + path + "?" + query + " HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n"
	if media != "" {
		head += "Content-Type: " + media + "\r\n"
	}
	if body != nil {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(content))
	}
	// A server that refuses early closes before it has read all.
	_, _ = conn.Write(append([]byte(head+"\r\n"), content...))
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode < 400 {
		err = nil // a stream may go on, or be cut
	}
	return resp.StatusCode, string(raw), err
}

const slowClients = 8

// slowBodies opens clients that send a byte a second of a body. Each must be
// answered or cut off, in a bounded time.
func slowBodies(t *testing.T) <-chan string {
	out := make(chan string, slowClients)
	for i := range slowClients {
		go func() {
			conn, err := net.Dial("unix", "/run/sampan/sampan.sock")
			if err != nil {
				out <- err.Error()
				return
			}
			defer conn.Close()
			path := []string{"/containers/create", "/volumes/create", "/containers/victim/update", "/containers/victim/exec"}[i%4]
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{", path)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Second):
						if _, err := conn.Write([]byte(" ")); err != nil {
							return
						}
					}
				}
			}()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			switch {
			case err != nil:
				out <- "" // cut off
			case resp.StatusCode >= 500 || resp.StatusCode < 400:
				out <- fmt.Sprintf("a slow body at %s: %s", path, resp.Status)
			default:
				out <- ""
			}
		}()
	}
	return out
}
