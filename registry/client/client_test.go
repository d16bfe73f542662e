package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/hosts"
	"github.com/sampan-containers/sampan/test/hostile"
)

func fast() Limits {
	return Limits{Attempts: 3, Dial: time.Second, Header: 500 * time.Millisecond, Stall: 200 * time.Millisecond,
		Backoff: time.Millisecond, BackoffMax: 2 * time.Millisecond, RetryAfter: 20 * time.Millisecond}
}

var login = auth.Credentials{Username: "user", Password: "secret"}

// origin is a repository of a registry under a name.
func origin(t *testing.T, c *Client, name string) *Source {
	t.Helper()
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.Repository(ref, login).Origin()
}

// at makes a client whose every name resolves to the test's own server: a name
// that is not loopback is not insecure.
func at(c *Client, target string) *Client {
	c.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}
	return c
}

func add(t *testing.T, r *hostile.Registry, raw []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	r.Lock()
	defer r.Unlock()
	r.Blobs[d.Digest] = raw
	return d
}

// TestRedirectsCarryNoLogin: attack G2.
func TestRedirectsCarryNoLogin(t *testing.T) {
	storage := hostile.New(t, "127.0.0.2")
	blob := add(t, storage, []byte("content"))
	r := hostile.New(t, "")
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			storage.Forget()
			r.Play(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Header.Get("Authorization") == "" {
					w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
					w.WriteHeader(http.StatusUnauthorized)
					return true
				}
				http.Redirect(w, q, storage.URL()+"/v2/x/blobs/"+blob.Digest.String()+"?signature=s", status)
				return true
			})
			s := origin(t, New(&hosts.Config{}, fast(), ""), r.Host()+"/x")
			raw, err := s.SmallBlob(t.Context(), blob, 100)
			if err != nil || string(raw) != "content" {
				t.Fatalf("%q, %v", raw, err)
			}
			for _, q := range storage.Seen("") {
				if q.Authorization != "" {
					t.Errorf("the login went along: %+v", q)
				}
			}
		})
	}
	t.Run("the target asks for a login", func(t *testing.T) {
		storage.Forget()
		storage.Play(func(w http.ResponseWriter, q *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Basic realm="give it to me"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		s := origin(t, New(&hosts.Config{}, fast(), ""), r.Host()+"/x")
		_, err := s.SmallBlob(t.Context(), blob, 100)
		if !errors.Is(err, fault.Forbidden) || len(storage.Seen("")) != 1 || storage.Seen("")[0].Authorization != "" {
			t.Errorf("%v, %v", err, storage.Seen(""))
		}
	})
	t.Run("a foreign realm", func(t *testing.T) {
		storage.Forget()
		storage.Play(func(w http.ResponseWriter, q *http.Request) bool {
			_, _ = io.WriteString(w, `{"token":"anonymous"}`)
			return true
		})
		r.Play(func(w http.ResponseWriter, q *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+storage.URL()+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		s := origin(t, New(&hosts.Config{}, fast(), ""), r.Host()+"/x")
		if _, err := s.SmallBlob(t.Context(), blob, 100); err == nil {
			t.Error("no error")
		}
		for _, q := range storage.Seen("") {
			if q.Authorization != "" || strings.Contains(q.Query, "user") {
				t.Errorf("the login went to a foreign token server: %+v", q)
			}
		}
		if len(storage.Seen("/token")) == 0 {
			t.Error("not even an anonymous token was asked for")
		}
	})
	t.Run("uploads that move", func(t *testing.T) {
		storage.Forget()
		storage.Play(func(w http.ResponseWriter, q *http.Request) bool { w.WriteHeader(http.StatusCreated); return true })
		r.Play(func(w http.ResponseWriter, q *http.Request) bool {
			if q.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			w.Header().Set("Location", storage.URL()+"/put/here")
			w.WriteHeader(http.StatusAccepted)
			return true
		})
		s := origin(t, New(&hosts.Config{}, fast(), ""), r.Host()+"/x")
		err := s.Upload(t.Context(), blob, func(int64) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("content")), nil }, nil)
		if err != nil {
			t.Error(err)
		}
		if seen := storage.Seen("/put/here"); len(seen) != 1 || seen[0].Authorization != "" {
			t.Errorf("%+v", seen)
		}
	})
	t.Run("in a circle", func(t *testing.T) {
		r.Forget()
		r.Play(func(w http.ResponseWriter, q *http.Request) bool {
			http.Redirect(w, q, q.URL.Path, http.StatusFound)
			return true
		})
		s := origin(t, New(&hosts.Config{}, fast(), ""), r.Host()+"/x")
		if _, err := s.SmallBlob(t.Context(), blob, 100); err == nil || !strings.Contains(err.Error(), "redirects more than") || len(r.Seen("")) > 10 {
			t.Errorf("%v after %d requests", err, len(r.Seen("")))
		}
	})
}

// TestNoSilentPlainHTTP: attack G3. A name that was not configured is reached by
// verified TLS or not at all.
func TestNoSilentPlainHTTP(t *testing.T) {
	plain, secure := hostile.New(t, ""), hostile.NewTLS(t, "")
	for _, r := range []*hostile.Registry{plain, secure} {
		r.Add(t, "v1", []hostile.Layer{{Blob: []byte("x"), MediaType: ocispec.MediaTypeImageLayer}}, nil)
	}
	t.Run("plain", func(t *testing.T) {
		s := origin(t, at(New(&hosts.Config{}, fast(), ""), plain.Host()), "registry.example/x")
		if _, _, err := s.Manifest(t.Context(), "v1"); err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
			t.Errorf("%v", err)
		}
		if seen := plain.Seen(""); len(seen) != 0 {
			t.Errorf("plain HTTP was spoken: %v", seen)
		}
	})
	t.Run("unknown authority", func(t *testing.T) {
		s := origin(t, at(New(&hosts.Config{}, fast(), ""), secure.Host()), "registry.example/x")
		if _, _, err := s.Manifest(t.Context(), "v1"); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%v", err)
		}
		if seen := secure.Seen(""); len(seen) != 0 {
			t.Errorf("requests were sent: %v", seen)
		}
	})
	for name, r := range map[string]*hostile.Registry{"plain": plain, "unknown authority": secure} {
		t.Run(name+", configured", func(t *testing.T) {
			s := origin(t, at(New(&hosts.Config{Insecure: []string{"registry.example"}}, fast(), ""), r.Host()), "registry.example/x")
			if _, _, err := s.Manifest(t.Context(), "v1"); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("redirect to plain", func(t *testing.T) {
		plain.Forget()
		secure.Play(func(w http.ResponseWriter, q *http.Request) bool {
			http.Redirect(w, q, plain.URL()+q.URL.Path, http.StatusFound)
			return true
		})
		c := at(New(&hosts.Config{}, fast(), ""), secure.Host())
		c.trust = true
		s := origin(t, c, "registry.example/x")
		_, _, err := s.Manifest(t.Context(), "v1")
		if !errors.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "without it: refused") || len(plain.Seen("")) != 0 {
			t.Errorf("%v, %v", err, plain.Seen(""))
		}
	})
}

func TestTokensAreUsedAgain(t *testing.T) {
	r := hostile.New(t, "")
	r.Add(t, "v1", []hostile.Layer{{Blob: []byte("x"), MediaType: ocispec.MediaTypeImageLayer}}, nil)
	var given atomic.Int32
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		switch {
		case q.URL.Path == "/token":
			if user, password, _ := q.BasicAuth(); user != "user" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			refresh := ""
			if q.URL.Query().Get("offline_token") == "true" {
				refresh = "identity"
			}
			fmt.Fprintf(w, `{"token":"t%d","refresh_token":%q}`, given.Add(1), refresh)
			return true
		case q.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", given.Load()) || given.Load() == 0:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.URL()+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	c := New(&hosts.Config{}, fast(), "")
	s := origin(t, c, r.Host()+"/x")
	for range 3 {
		if _, err := s.Resolve(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.Seen("/token")); n != 1 {
		t.Errorf("%d tokens for three requests", n)
	}
	if n := len(r.Seen("/manifests/")); n != 4 {
		t.Errorf("%d requests, want one more than three", n)
	}
	given.Add(1) // the token is void before its time
	if _, err := s.Resolve(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
	if id, err := c.Login(t.Context(), r.Host(), login); err != nil || id != "identity" {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := c.Login(t.Context(), r.Host(), auth.Credentials{Username: "user", Password: "wrong"}); !errors.Is(err, fault.Unauthorized) {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestUploadInPieces(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 3*chunkSize/16) + "end"
	d := ocispec.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))}
	r := hostile.New(t, "")
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if q.ContentLength > chunkSize {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		}
		return false
	})
	patient := fast() // a busy machine is no stall
	patient.Stall, patient.Header = 30*time.Second, 30*time.Second
	s := origin(t, New(&hosts.Config{}, patient, ""), r.Host()+"/x")
	err := s.Upload(t.Context(), d, func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content[offset:])), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(r.Blobs[d.Digest]) != d.Digest {
		t.Error("the blob is not there")
	}
}

func TestUploadThatStalls(t *testing.T) {
	r := hostile.New(t, "")
	over := make(chan struct{}) // a handler that does not read learns of nothing
	t.Cleanup(func() { close(over) })
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method == http.MethodPut {
			<-over
			return true
		}
		return false
	})
	big := make([]byte, 32<<20)
	d := ocispec.Descriptor{Digest: digest.FromBytes(big), Size: int64(len(big))}
	s := origin(t, New(&hosts.Config{}, fast(), ""), r.Host()+"/x")
	began := time.Now()
	err := s.Upload(t.Context(), d, func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(big[offset:]))), nil
	}, nil)
	if err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestSearchOfACatalog(t *testing.T) {
	r := hostile.New(t, "")
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path != "/v2/_catalog" {
			return false
		}
		if q.URL.Query().Get("last") == "" {
			w.Header().Set("Link", `</v2/_catalog?last=b&n=2>; rel="next"`)
			_, _ = io.WriteString(w, `{"repositories":["team/web","other"]}`)
		} else {
			_, _ = io.WriteString(w, `{"repositories":["web2"]}`)
		}
		return true
	})
	c := New(&hosts.Config{}, fast(), "")
	defer c.Close()
	found, err := c.Search(t.Context(), r.Host()+"/web", 10, login)
	if err != nil || len(found) != 2 || found[0].Name != r.Host()+"/team/web" || found[1].Name != r.Host()+"/web2" {
		t.Errorf("%+v, %v", found, err)
	}
}

func FuzzKind(f *testing.F) {
	for _, seed := range []string{`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`, `{"schemaVersion":1,"fsLayers":[]}`, `{"config":{},"layers":[],"manifests":[]}`, `[]`} {
		f.Add([]byte(seed), ocispec.MediaTypeImageManifest)
	}
	f.Fuzz(func(t *testing.T, raw []byte, contentType string) {
		got, err := kind(raw, contentType)
		switch got {
		case ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, MediaTypeDockerList, MediaTypeDockerManifest:
		default:
			if err == nil {
				t.Errorf("%q as %q is %q", raw, contentType, got)
			}
		}
		if err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
	})
}
