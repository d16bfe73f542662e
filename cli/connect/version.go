package connect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/http1"
)

// maxRefusal bounds the body of a 400 that is looked at for a version.
const maxRefusal = 64 << 10

// versioner speaks the newest API version at once. A daemon that is older says
// so in its 400; the request is then sent again with the version it named, and
// so are all later ones. That saves the /_ping before every command.
type versioner struct {
	next      client.Transport
	basePath  string
	preferred string
	// fixed: DOCKER_API_VERSION names the version, no other may be used.
	fixed   bool
	lowered atomic.Pointer[string]
}

func newVersioner(next client.Transport, basePath string) *versioner {
	v := &versioner{next: next, basePath: basePath, preferred: client.MaxAPIVersion}
	for _, name := range []string{"SAMPAN_API_VERSION", "DOCKER_API_VERSION"} {
		if value := strings.TrimPrefix(os.Getenv(name), "v"); value != "" {
			v.preferred, v.fixed = value, true
			break
		}
	}
	return v
}

func (v *versioner) current() string {
	if low := v.lowered.Load(); low != nil {
		return *low
	}
	return v.preferred
}

func (v *versioner) prefix(version string) string { return v.basePath + "/v" + version + "/" }

// RoundTrip implements client.Transport.
func (v *versioner) RoundTrip(ctx context.Context, req *http1.Request) (*client.Response, error) {
	ours := strings.HasPrefix(req.Target, v.prefix(v.preferred))
	if low := v.lowered.Load(); ours && low != nil {
		return v.next.RoundTrip(ctx, v.rewrite(req, *low))
	}
	resp, err := v.next.RoundTrip(ctx, req)
	if err != nil || !ours || v.fixed || resp.Code != http1.BadRequest {
		return resp, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	wanted := wantedVersion(string(body))
	if wanted == "" || req.Stream != nil {
		return resp, nil
	}
	v.lowered.Store(&wanted)
	return v.next.RoundTrip(ctx, v.rewrite(req, wanted))
}

func (v *versioner) rewrite(req *http1.Request, version string) *http1.Request {
	again := *req
	again.Target = v.prefix(version) + strings.TrimPrefix(req.Target, v.prefix(v.preferred))
	return &again
}

// wantedVersion finds the newest version in the refusal of an older daemon.
func wantedVersion(body string) string {
	_, rest, ok := strings.Cut(body, "too new. Maximum supported API version is ")
	if !ok {
		return ""
	}
	end := len("1.")
	if !strings.HasPrefix(rest, "1.") {
		return ""
	}
	for end < len(rest) && end < len("1.999") && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	if end == len("1.") {
		return ""
	}
	return rest[:end]
}

// Settle asks the daemon for its version. A request whose body cannot be sent
// twice (an import from a pipe) needs it beforehand.
func (c *Conn) Settle(ctx context.Context) error {
	ping, err := c.Ping(ctx, client.PingOptions{})
	if err != nil {
		return err
	}
	if !c.versions.fixed && ping.APIVersion != "" && olderAPI(ping.APIVersion, c.versions.preferred) {
		c.versions.lowered.Store(&ping.APIVersion)
	}
	return nil
}

func olderAPI(a, b string) bool {
	var aMajor, aMinor, bMajor, bMinor int
	if n, _ := fmt.Sscanf(a, "%d.%d", &aMajor, &aMinor); n != 2 {
		return false
	}
	if n, _ := fmt.Sscanf(b, "%d.%d", &bMajor, &bMinor); n != 2 {
		return false
	}
	return aMajor < bMajor || aMajor == bMajor && aMinor < bMinor
}

// tracer prints one line per request for --debug.
type tracer struct {
	next client.Transport
	w    io.Writer
}

func (t *tracer) RoundTrip(ctx context.Context, req *http1.Request) (*client.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(ctx, req)
	outcome := ""
	if err != nil {
		outcome = err.Error()
	} else {
		outcome = resp.Status
	}
	fmt.Fprintf(t.w, "debug: %s %s: %s (%s)\n", req.Method, req.Target, outcome, time.Since(start).Round(time.Microsecond))
	return resp, err
}

func (c *Conn) roundTripper() client.Transport {
	if c.trace == nil {
		return c.versions
	}
	c.versions.next = &tracer{next: c.versions.next, w: c.trace}
	return c.versions
}
