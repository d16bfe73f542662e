package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/registry/hosts"
	"github.com/sampan-containers/sampan/test/hostile"
)

// slowly sends what a blob's answer is in small steps, and counts who is served at
// the same time.
type slowly struct {
	http.ResponseWriter
	at, most *atomic.Int32
}

func (s slowly) Write(p []byte) (n int, err error) {
	if now := s.at.Add(1); now > s.most.Load() {
		s.most.Store(now)
	}
	defer s.at.Add(-1)
	for len(p) > 0 && err == nil {
		time.Sleep(2 * time.Millisecond)
		var k int
		k, err = s.ResponseWriter.Write(p[:min(len(p), 8*kib)])
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		n, p = n+k, p[k:]
	}
	return n, err
}

func (s slowly) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// A big blob of a slow registry comes over several connections, in order, whatever
// its ranges are like.
func TestBlobOverSeveralConnections(t *testing.T) {
	r := hostile.New(t, "")
	raw := make([]byte, mib)
	_, _ = rand.NewChaCha8([32]byte{}).Read(raw)
	d := add(t, r, raw)
	var pieces atomic.Int32
	piece := func(q *http.Request) bool {
		text, ok := strings.CutPrefix(q.Header.Get("Range"), "bytes=")
		if ok = ok && !strings.HasSuffix(text, "-"); ok {
			pieces.Add(1)
		}
		return ok
	}
	for name, tt := range map[string]struct {
		// answer may change the request, or answer it.
		answer   func(w http.ResponseWriter, q *http.Request) bool
		parallel bool
	}{
		"ranges": {func(_ http.ResponseWriter, q *http.Request) bool { piece(q); return false }, true},
		"no ranges": {func(_ http.ResponseWriter, q *http.Request) bool {
			piece(q)
			q.Header.Del("Range")
			return false
		}, false},
		"refused pieces": {func(w http.ResponseWriter, q *http.Request) bool {
			if !piece(q) {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}, false},
		"wrong range": {func(w http.ResponseWriter, q *http.Request) bool {
			if !piece(q) {
				return false
			}
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, false},
		"pieces break off": {func(w http.ResponseWriter, q *http.Request) bool {
			if !piece(q) {
				return false
			}
			r.Send(w, q, raw, 20*kib)
			return true
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var at, most atomic.Int32
			pieces.Store(0)
			r.Forget()
			before := r.Served()
			r.Play(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Method != http.MethodGet || !strings.Contains(q.URL.Path, "/blobs/") {
					return false
				}
				s := slowly{w, &at, &most}
				if !tt.answer(s, q) {
					r.Send(s, q, raw, len(raw))
				}
				return true
			})
			l := fast()
			l.Ranges, l.RangeSize, l.RangesAfter = 4, 64*kib, 10*time.Millisecond
			c := New(&hosts.Config{}, l, "test")
			t.Cleanup(c.Close)
			body, err := origin(t, c, r.Host()+"/web").Blob(t.Context(), d, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, raw) {
				t.Errorf("%d bytes that are right: %v, %v", len(got), bytes.Equal(got, raw), err)
			}
			if err := body.Close(); err != nil {
				t.Error(err)
			}
			if tt.parallel != (most.Load() > 1) && tt.parallel || pieces.Load() == 0 {
				t.Errorf("%d at once, %d pieces", most.Load(), pieces.Load())
			}
			// The first connection may have been given more than was wanted of it.
			if n := r.Served() - before; n > 2*mib+200*kib {
				t.Errorf("%d bytes were served", n)
			}
			if len(c.pieces) != 0 {
				t.Errorf("%d pieces are still counted", len(c.pieces))
			}
		})
	}
	t.Run("given up", func(t *testing.T) {
		r.Play(func(w http.ResponseWriter, q *http.Request) bool {
			if !strings.Contains(q.URL.Path, "/blobs/") {
				return false
			}
			var at, most atomic.Int32
			r.Send(slowly{w, &at, &most}, q, raw, len(raw))
			return true
		})
		l := fast()
		l.Ranges, l.RangeSize, l.RangesAfter = 4, 64*kib, 10*time.Millisecond
		c := New(&hosts.Config{}, l, "test")
		t.Cleanup(c.Close)
		ctx, cancel := context.WithCancel(t.Context())
		body, err := origin(t, c, r.Host()+"/web").Blob(ctx, d, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, body, 200*kib); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(body); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		body.Close()
		if len(c.pieces) != 0 {
			t.Errorf("%d pieces are still counted", len(c.pieces))
		}
	})
	t.Run("a fast one", func(t *testing.T) {
		pieces.Store(0)
		r.Play(func(_ http.ResponseWriter, q *http.Request) bool { piece(q); return false })
		l := fast()
		l.Ranges, l.RangeSize, l.RangesAfter = 4, 64*kib, 10*time.Second
		c := New(&hosts.Config{}, l, "test")
		t.Cleanup(c.Close)
		body, err := origin(t, c, r.Host()+"/web").Blob(t.Context(), d, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, raw) || pieces.Load() != 0 {
			t.Errorf("%d bytes, %v, %d pieces", len(got), err, pieces.Load())
		}
	})
}
