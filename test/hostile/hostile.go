// Package hostile is a registry inside a test's process that does what a registry
// must not: it drops, stalls, lies, redirects and asks for logins it has no right
// to. Without a Trick it is a small honest registry of the OCI distribution
// protocol, for pulls and pushes.
package hostile

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Request is one that came in.
type Request struct {
	Method, Path, Query, Authorization, Range, Host string
}

// Manifest is a document under a tag or digest.
type Manifest struct {
	MediaType string
	Raw       []byte
}

// Trick may answer a request in the registry's place; it returns whether it did.
type Trick func(w http.ResponseWriter, r *http.Request) bool

// Registry is a running registry. Its fields may be changed between requests, with
// Lock held.
type Registry struct {
	sync.Mutex
	Blobs     map[digest.Digest][]byte
	Manifests map[string]Manifest // by tag and by digest
	Trick     Trick

	server   *httptest.Server
	seen     []Request
	served   int64 // bytes of blobs
	uploads  map[string]*bytes.Buffer
	sessions int
}

// New starts a registry on a loopback address, 127.0.0.1 if it is empty.
func New(t testing.TB, address string) *Registry { return start(t, address, false) }

// NewTLS starts one with a certificate that nobody has signed.
func NewTLS(t testing.TB, address string) *Registry { return start(t, address, true) }

func start(t testing.TB, address string, secure bool) *Registry {
	t.Helper()
	if address == "" {
		address = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Registry{Blobs: map[digest.Digest][]byte{}, Manifests: map[string]Manifest{}, uploads: map[string]*bytes.Buffer{}}
	r.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(r.serve)}}
	if secure {
		r.server.TLS = &tls.Config{}
		r.server.StartTLS()
	} else {
		r.server.Start()
	}
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
	})
	return r
}

// Host is host:port.
func (r *Registry) Host() string { return r.server.Listener.Addr().String() }

// URL is the base address.
func (r *Registry) URL() string { return r.server.URL }

// Seen returns the requests so far whose path contains a text, and Served the
// bytes of blobs that were sent.
func (r *Registry) Seen(part string) []Request {
	r.Lock()
	defer r.Unlock()
	var list []Request
	for _, q := range r.seen {
		if strings.Contains(q.Path, part) {
			list = append(list, q)
		}
	}
	return list
}

// Served is how many bytes of blobs went out.
func (r *Registry) Served() int64 {
	r.Lock()
	defer r.Unlock()
	return r.served
}

// Forget clears Seen and Served.
func (r *Registry) Forget() {
	r.Lock()
	defer r.Unlock()
	r.seen, r.served = nil, 0
}

// Play sets the trick.
func (r *Registry) Play(t Trick) {
	r.Lock()
	defer r.Unlock()
	r.Trick = t
}

func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	r.Lock()
	r.seen = append(r.seen, Request{q.Method, q.URL.Path, q.URL.RawQuery, q.Header.Get("Authorization"), q.Header.Get("Range"), q.Host})
	trick := r.Trick
	r.Unlock()
	if trick != nil && trick(w, q) {
		return
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	path := strings.TrimPrefix(q.URL.Path, "/v2/")
	switch {
	case path == "":
		w.WriteHeader(http.StatusOK)
	case strings.Contains(path, "/manifests/"):
		r.manifest(w, q, path[strings.Index(path, "/manifests/")+len("/manifests/"):])
	case strings.Contains(path, "/blobs/uploads/"):
		r.upload(w, q, path)
	case strings.Contains(path, "/blobs/"):
		r.blob(w, q, digest.Digest(path[strings.Index(path, "/blobs/")+len("/blobs/"):]))
	case strings.HasSuffix(path, "/tags/list"):
		r.tags(w)
	default:
		http.NotFound(w, q)
	}
}

func (r *Registry) tags(w http.ResponseWriter) {
	r.Lock()
	defer r.Unlock()
	var tags []string
	for name := range r.Manifests {
		if !strings.Contains(name, ":") {
			tags = append(tags, strconv.Quote(name))
		}
	}
	fmt.Fprintf(w, `{"name":"x","tags":[%s]}`, strings.Join(tags, ","))
}

func (r *Registry) manifest(w http.ResponseWriter, q *http.Request, ref string) {
	if q.Method == http.MethodPut {
		raw, _ := io.ReadAll(q.Body)
		r.Lock()
		d := r.put(ref, Manifest{q.Header.Get("Content-Type"), raw})
		r.Unlock()
		w.Header().Set("Docker-Content-Digest", d.String())
		w.WriteHeader(http.StatusCreated)
		return
	}
	r.Lock()
	m, ok := r.Manifests[ref]
	r.Unlock()
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":"unknown tag"}]}`)
		return
	}
	w.Header().Set("Content-Type", m.MediaType)
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(m.Raw).String())
	w.Header().Set("Content-Length", strconv.Itoa(len(m.Raw)))
	if q.Method != http.MethodHead {
		_, _ = w.Write(m.Raw)
	}
}

// Put files a manifest under a tag and its digest.
func (r *Registry) Put(ref string, m Manifest) digest.Digest {
	r.Lock()
	defer r.Unlock()
	return r.put(ref, m)
}

func (r *Registry) put(ref string, m Manifest) digest.Digest {
	d := digest.FromBytes(m.Raw)
	r.Manifests[ref], r.Manifests[d.String()] = m, m
	return d
}

func (r *Registry) blob(w http.ResponseWriter, q *http.Request, d digest.Digest) {
	r.Lock()
	raw, ok := r.Blobs[d]
	r.Unlock()
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry","detail":"unknown blob"}]}`)
		return
	}
	w.Header().Set("Docker-Content-Digest", d.String())
	r.Send(w, q, raw, len(raw))
}

// Send sends a blob, or the range that was asked for, and breaks the connection after
// at most n bytes of it.
func (r *Registry) Send(w http.ResponseWriter, q *http.Request, raw []byte, n int) {
	from := 0
	text, ranged := strings.CutPrefix(q.Header.Get("Range"), "bytes=")
	if ranged {
		first, last, _ := strings.Cut(text, "-")
		from, _ = strconv.Atoi(first)
		if end, err := strconv.Atoi(last); err == nil {
			raw = raw[:min(end+1, len(raw))]
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", from, len(raw)-1))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)-from))
	if ranged {
		w.WriteHeader(http.StatusPartialContent)
	}
	if q.Method == http.MethodHead {
		return
	}
	part := raw[from:min(from+n, len(raw))]
	k, _ := w.Write(part)
	r.Lock()
	r.served += int64(k)
	r.Unlock()
	if from+k < len(raw) {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (r *Registry) upload(w http.ResponseWriter, q *http.Request, path string) {
	name, id, _ := strings.Cut(path, "/blobs/uploads/")
	r.Lock()
	defer r.Unlock()
	switch q.Method {
	case http.MethodPost:
		if d := digest.Digest(q.URL.Query().Get("mount")); d != "" && r.Blobs[d] != nil {
			w.Header().Set("Docker-Content-Digest", d.String())
			w.Header().Set("Location", "/v2/"+name+"/blobs/"+d.String())
			w.WriteHeader(http.StatusCreated)
			return
		}
		r.sessions++
		id = strconv.Itoa(r.sessions)
		r.uploads[id] = &bytes.Buffer{}
		w.Header().Set("Location", "/v2/"+name+"/blobs/uploads/"+id)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	buf := r.uploads[id]
	if buf == nil {
		http.NotFound(w, q)
		return
	}
	if q.Method == http.MethodGet {
		w.Header().Set("Location", "/v2/"+name+"/blobs/uploads/"+id)
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(buf.Len()-1, 0)))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	r.Unlock()
	_, err := io.Copy(buf, q.Body)
	r.Lock()
	if err != nil {
		return
	}
	if q.Method == http.MethodPatch {
		w.Header().Set("Location", "/v2/"+name+"/blobs/uploads/"+id)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	delete(r.uploads, id)
	d := digest.Digest(q.URL.Query().Get("digest"))
	if digest.FromBytes(buf.Bytes()) != d {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}`)
		return
	}
	r.Blobs[d] = buf.Bytes()
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Location", "/v2/"+name+"/blobs/"+d.String())
	w.WriteHeader(http.StatusCreated)
}
