package image

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func TestFetch(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/root.tar" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "an archive")
	}))
	defer srv.Close()
	r, err := fetch(t.Context(), srv.URL+"/root.tar")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "an archive" {
		t.Errorf("%q, %v", got, err)
	}
	for url, class := range map[string]*fault.Class{
		srv.URL + "/absent": fault.Unavailable, "file:///etc/passwd": fault.Invalid, "http://": fault.Invalid, "x": fault.Invalid,
		"http://127.0.0.1:1/x": fault.Unavailable, "gopher://x/y": fault.Invalid,
	} {
		if _, err := fetch(t.Context(), url); !errors.Is(err, class) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
