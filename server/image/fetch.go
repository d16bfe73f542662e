package image

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// headerWait bounds the wait for the first byte of an answer, and idleWait that
	// for more of it.
	headerWait = 30 * time.Second
	idleWait   = time.Minute
)

// fetch opens what lies behind a URL, for an import. The caller closes it.
func fetch(ctx context.Context, text string) (io.ReadCloser, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "import: %q is neither - nor the URL of an archive (http:// or https://)", text)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: headerWait, DisableKeepAlives: true, DisableCompression: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		cancel(nil)
		return nil, fault.New(fault.Invalid, "import: %w", err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		cancel(nil)
		return nil, fault.New(fault.Unavailable, "import: fetch %s: %w", u.Redacted(), err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		cancel(nil)
		return nil, fault.New(fault.Unavailable, "import: fetch %s: the server answered %s", u.Redacted(), resp.Status)
	}
	stalled := fault.New(fault.Deadline, "import: fetch %s: nothing came for %v", u.Redacted(), idleWait)
	return &fetched{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, timer: time.AfterFunc(idleWait, func() { cancel(stalled) })}, nil
}

// fetched is a body that ends when nothing comes for idleWait.
type fetched struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (f *fetched) Read(p []byte) (int, error) {
	f.timer.Reset(idleWait)
	n, err := f.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		if cause := context.Cause(f.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (f *fetched) Close() error {
	f.timer.Stop()
	f.cancel(nil)
	return f.ReadCloser.Close()
}
