package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/auth"
)

// chunkSize is what goes in one request when a registry, or a proxy before it,
// finds a whole blob too large.
const chunkSize = 16 * mib

// Content opens a blob's bytes from an offset on.
type Content func(offset int64) (io.ReadCloser, error)

// Mount asks the registry to take a blob over from another of its repositories
// (path without the host). False means that it must be uploaded.
func (s *Source) Mount(ctx context.Context, d ocispec.Descriptor, from string) (bool, error) {
	scopes := append(push(s), auth.Scope{Repository: from, Actions: "pull"})
	resp, err := s.ask(ctx, &request{method: http.MethodPost, path: s.path() + "/blobs/uploads/", scopes: scopes,
		query: url.Values{"mount": {d.Digest.String()}, "from": {from}}})
	if err != nil {
		return false, err
	}
	defer drain(resp)
	if resp.StatusCode == http.StatusAccepted { // an upload that nobody needs
		if u, err := location(resp); err == nil {
			if gone, err := s.ask(ctx, &request{method: http.MethodDelete, url: u, scopes: push(s), once: true}); err == nil {
				drain(gone)
			}
		}
	}
	return resp.StatusCode == http.StatusCreated, nil
}

// Upload sends a blob: in one piece, or after a break from where the registry
// says it got to. retrying, if not nil, is told of each failure before another
// try.
func (s *Source) Upload(ctx context.Context, d ocispec.Descriptor, content Content, retrying func(error)) error {
	u := &upload{s: s, d: d, content: content}
	for try := 1; ; try++ {
		err := u.run(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if a := as(err); a != nil && a.status == http.StatusRequestEntityTooLarge && !u.chunked {
			u.chunked, u.session = true, nil
			continue
		}
		if class := fault.Of(err); class != nil && class != fault.Unavailable || try >= s.r.c.limits.Attempts {
			return fmt.Errorf("upload blob %s to %s: %w", d.Digest, s, err)
		}
		if retrying != nil {
			retrying(err)
		}
		if err := s.r.c.sleep(ctx, try, 0); err != nil {
			return err
		}
		u.find(ctx)
	}
}

type upload struct {
	s       *Source
	d       ocispec.Descriptor
	content Content
	session *url.URL
	at      int64 // bytes that the registry has
	chunked bool
}

func (u *upload) run(ctx context.Context) error {
	if u.session == nil {
		if err := u.begin(ctx); err != nil {
			return err
		}
	}
	for u.chunked && u.at < u.d.Size {
		if err := u.patch(ctx, min(chunkSize, u.d.Size-u.at)); err != nil {
			return err
		}
	}
	// The registry has a part: PUT of the rest is not understood everywhere.
	if u.at > 0 && u.at < u.d.Size {
		if err := u.patch(ctx, u.d.Size-u.at); err != nil {
			return err
		}
	}
	return u.put(ctx)
}

func (u *upload) begin(ctx context.Context) error {
	resp, err := u.s.ask(ctx, &request{method: http.MethodPost, path: u.s.path() + "/blobs/uploads/", scopes: push(u.s)})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return manifestError(u.d.Digest.String(), resp)
	}
	defer drain(resp)
	u.at = 0
	u.session, err = location(resp)
	return err
}

// location is where an upload goes on; it may be relative.
func location(resp *http.Response) (*url.URL, error) {
	l, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || l.Scheme != "https" && l.Scheme != "http" {
		return nil, fault.New(fault.Invalid, "%s does not say where to upload to: %q", resp.Request.URL.Host, clip(resp.Header.Get("Location")))
	}
	if resp.Request.URL.Scheme == "https" && l.Scheme == "http" {
		if l.Host != resp.Request.URL.Host {
			return nil, fault.New(fault.Forbidden, "%s is reached by TLS and sends uploads to %s without it: refused", resp.Request.URL.Host, l.Host)
		}
		// Registries behind a proxy that ends TLS do not know about it.
		l.Scheme = "https"
	}
	return l, nil
}

func (u *upload) body(size int64) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, err := u.content(u.at)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(r, size), r}, nil
	}
}

func (u *upload) patch(ctx context.Context, size int64) error {
	resp, err := u.s.ask(ctx, &request{
		method: http.MethodPatch, url: u.session, scopes: push(u.s), body: u.body(size), size: size, once: true,
		header: http.Header{"Content-Type": {"application/octet-stream"}, "Content-Range": {fmt.Sprintf("%d-%d", u.at, u.at+size-1)}},
	})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusNoContent {
		return answerError(resp)
	}
	defer drain(resp)
	u.at += size
	u.session, err = location(resp)
	return err
}

// put sends what is left and closes the upload.
func (u *upload) put(ctx context.Context) error {
	session := *u.session
	query := session.Query()
	query.Set("digest", u.d.Digest.String())
	session.RawQuery = query.Encode()
	size := u.d.Size - u.at
	q := &request{method: http.MethodPut, url: &session, scopes: push(u.s), size: size, once: true,
		header: http.Header{"Content-Type": {"application/octet-stream"}}}
	if size > 0 {
		q.body = u.body(size)
	}
	resp, err := u.s.ask(ctx, q)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusOK {
		u.session = nil
		return answerError(resp)
	}
	drain(resp)
	return nil
}

// find asks how far a broken upload got; one that is gone begins anew.
func (u *upload) find(ctx context.Context) {
	session := u.session
	if session == nil {
		return
	}
	u.session = nil
	resp, err := u.s.ask(ctx, &request{method: http.MethodGet, url: session, scopes: push(u.s), once: true})
	if err != nil {
		return
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusAccepted {
		return
	}
	at, err := rangeEnd(resp.Header.Get("Range"))
	if err != nil || at > u.d.Size {
		return
	}
	next, err := location(resp)
	if err != nil {
		next = session
	}
	u.session, u.at = next, at
}

// rangeEnd reads "0-499" as 500 bytes. An empty upload is "0-0" to some
// registries, which is taken as nothing: a byte sent twice would be refused.
func rangeEnd(text string) (int64, error) {
	_, last, ok := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	if !ok {
		return 0, errors.New("no range")
	}
	n, err := strconv.ParseInt(last, 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("no range")
	}
	if n == 0 {
		return 0, nil
	}
	return n + 1, nil
}
