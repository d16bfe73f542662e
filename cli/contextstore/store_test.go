package contextstore

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStore(t *testing.T) {
	s := New(t.TempDir())
	if _, err := s.Get("aa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty store has a context: %v", err)
	}
	c := &Context{Name: "aa"}
	c.Describe("first")
	c.Metadata["Foreign"] = 5
	c.SetDocker(Endpoint{Host: "tcp://h:1"})
	if err := errors.Join(s.Put(c), s.SetTLS("aa", map[string][]byte{"ca.pem": []byte("CA")})); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get("aa")
	if err != nil || got.Description() != "first" || got.Docker().Host != "tcp://h:1" || got.Metadata["Foreign"] != 5.0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if st, err := os.Stat(s.TLS("aa")["ca.pem"]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key material: %v, %v", st, err)
	}

	var archive bytes.Buffer
	if err := errors.Join(s.Export(&archive, "aa"), s.Import(&archive, "bb")); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[1].Name != "bb" || list[1].Docker().Host != "tcp://h:1" || s.TLS("bb")["ca.pem"] == "" {
		t.Errorf("list %+v, %v", list, err)
	}
	if err := s.Remove("aa"); err != nil || len(s.TLS("aa")) != 0 {
		t.Errorf("remove: %v", err)
	}
	if err := s.Remove("aa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove again: %v", err)
	}

	// One broken file must not hide the others.
	if err := os.WriteFile(filepath.Join(s.MetaDir("bb"), metaFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(c); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(); err == nil || len(list) != 1 || list[0].Name != "aa" {
		t.Errorf("list with a broken context: %v, %v", list, err)
	}
}

// What other programs keep in a context outlives a change of ours.
func TestForeignEndpoints(t *testing.T) {
	s := New(t.TempDir())
	const foreign = `{"Name":"aa","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://h:1","SkipTLSVerify":true},"kubernetes":{"Host":"https://k","SkipTLSVerify":false,"DefaultNamespace":"ns"}}}`
	if err := os.MkdirAll(s.MetaDir("aa"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.MetaDir("aa"), metaFile), []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := s.Get("aa")
	if err != nil || c.Docker().Host != "tcp://h:1" || !c.Docker().SkipTLSVerify {
		t.Fatalf("%+v, %v", c, err)
	}
	c.SetDocker(Endpoint{Host: "tcp://h:2"})
	if err := s.Put(c); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(s.MetaDir("aa"), metaFile))
	if err != nil || !strings.Contains(string(raw), `"DefaultNamespace":"ns"`) || !strings.Contains(string(raw), `"Host":"tcp://h:2"`) {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"aa": true, "a.b_c+d-1": true, "a": false, "": false, "default": false, "a b": false, "-a": false, "../x": false, "é1": false} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestImportForeign takes an archive of the years when contexts had an endpoint
// for Kubernetes, too.
func TestImportForeign(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range [][2]string{
		{"meta.json", `{"Name":"old","Metadata":{"StackOrchestrator":"all"},"Endpoints":{"docker":{"Host":"tcp://h:2376"},"kubernetes":{"Host":"https://k:6443","DefaultNamespace":"default"}}}`},
		{"tls/docker/ca.pem", "ours"}, {"tls/kubernetes/key.pem", "theirs"},
	} {
		if err := add(w, f[0], []byte(f[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	s := New(t.TempDir())
	if err := s.Import(&b, "aa"); err != nil {
		t.Fatal(err)
	}
	c, err := s.Get("aa")
	if err != nil || c.Docker().Host != "tcp://h:2376" || len(s.TLS("aa")) != 1 {
		t.Errorf("context %+v, %v, TLS %v", c, err, s.TLS("aa"))
	}
	if _, err := os.Stat(filepath.Join(s.TLSDir("aa"), "kubernetes")); err == nil {
		t.Error("the key of another endpoint is stored")
	}
}

func TestImportRefuses(t *testing.T) {
	pack := func(h *tar.Header, body string) *bytes.Buffer {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		h.Size = int64(len(body))
		_ = w.WriteHeader(h)
		_, _ = w.Write([]byte(body))
		_ = w.Close()
		return &b
	}
	for name, tt := range map[string]struct {
		in   *bytes.Buffer
		want string
	}{
		"no tar":       {bytes.NewBufferString(strings.Repeat("x", 600)), "not one of `context export`"},
		"empty":        {pack(&tar.Header{Name: "tls", Typeflag: tar.TypeDir}, ""), "it has no meta.json"},
		"outside":      {pack(&tar.Header{Name: "tls/docker/../../../x.pem", Typeflag: tar.TypeReg}, "x"), "which a context does not have"},
		"another name": {pack(&tar.Header{Name: "tls/docker/x.pem", Typeflag: tar.TypeReg}, "x"), "which a context does not have"},
		"deeper":       {pack(&tar.Header{Name: "tls/kubernetes/x/ca.pem", Typeflag: tar.TypeReg}, "x"), "which a context does not have"},
		"big":          {pack(&tar.Header{Name: "meta.json", Typeflag: tar.TypeReg}, strings.Repeat(" ", maxFile+1)), "more than a context may have"},
		"no JSON":      {pack(&tar.Header{Name: "meta.json", Typeflag: tar.TypeReg}, "{"), "is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t.TempDir())
			if err := s.Import(tt.in, "aa"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if list, err := s.List(); len(list) != 0 || err != nil {
				t.Errorf("something is there: %v, %v", list, err)
			}
		})
	}
}
