package hosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
)

func named(t *testing.T, text string) reference.Named {
	t.Helper()
	ref, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestRead(t *testing.T) {
	c := &Config{
		Mirrors:  []string{"https://hub-mirror.example", "http://plain.example:5000/"},
		Insecure: []string{"plain.example:6000", "10.1.0.0/16", "bare.example"},
		Registries: map[string]Registry{
			"quay.io":      {Mirrors: []string{"one.example", "https://two.example/cache/quay"}},
			"quay.io/team": {Mirrors: []string{"team.example"}},
			"own.example":  {Insecure: true},
			Any:            {Mirrors: []string{"all.example"}},
		},
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"debian":                     "https hub-mirror.example mirror|http plain.example:5000 mirror insecure|https registry-1.docker.io",
		"quay.io/a/b":                "https one.example mirror|https two.example cache/quay/ mirror|https quay.io",
		"quay.io/team/b":             "https team.example mirror|https quay.io",
		"ghcr.io/x/y":                "https all.example mirror ns=ghcr.io|https ghcr.io",
		"own.example/x":              "? own.example insecure",
		"localhost/x":                "https all.example mirror ns=localhost|? localhost insecure",
		"127.0.0.1:5000/x":           "https all.example mirror ns=127.0.0.1:5000|? 127.0.0.1:5000 insecure",
		"10.1.2.3:5000/x":            "https all.example mirror ns=10.1.2.3:5000|? 10.1.2.3:5000 insecure",
		"10.2.2.3:5000/x":            "https all.example mirror ns=10.2.2.3:5000|https 10.2.2.3:5000",
		"plain.example:6000/x":       "https all.example mirror ns=plain.example:6000|? plain.example:6000 insecure",
		"plain.example:7000/x":       "https all.example mirror ns=plain.example:7000|https plain.example:7000",
		"bare.example:7000/x":        "https all.example mirror ns=bare.example:7000|? bare.example:7000 insecure",
		"localhost.evil.example/x":   "https all.example mirror ns=localhost.evil.example|https localhost.evil.example",
		"127.0.0.1.evil.example/x":   "https all.example mirror ns=127.0.0.1.evil.example|https 127.0.0.1.evil.example",
		"10.1.2.3.evil.example:80/x": "https all.example mirror ns=10.1.2.3.evil.example:80|https 10.1.2.3.evil.example:80",
	} {
		var got []string
		for _, e := range c.Read(named(t, name)) {
			parts := []string{e.Scheme, e.Host}
			if e.Scheme == "" {
				parts[0] = "?"
			}
			if e.Prefix != "" {
				parts = append(parts, e.Prefix)
			}
			if e.Mirror {
				parts = append(parts, "mirror")
			}
			if e.Insecure {
				parts = append(parts, "insecure")
			}
			if e.NS != "" {
				parts = append(parts, "ns="+e.NS)
			}
			got = append(got, strings.Join(parts, " "))
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%s:\n got %s\nwant %s", name, text, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for text, c := range map[string]*Config{
		"neither a host":      {Mirrors: []string{"https://"}},
		"scheme":              {Mirrors: []string{"ftp://x"}},
		"without a login":     {Mirrors: []string{"https://a:b@x"}},
		"query":               {Mirrors: []string{"https://x?y"}},
		"beginning of a repo": {Mirrors: []string{"https://x/UPPER"}},
		"leave out":           {Insecure: []string{"http://x"}},
		"CIDR":                {Insecure: []string{"x/99"}},
		"is not a registry":   {Registries: map[string]Registry{"https://x": {}}},
		"more than the limit": {Registries: map[string]Registry{"x": {Mirrors: make([]string, maxMirrors+1)}}},
		"http-proxy":          {Proxy: Proxy{HTTP: "http://"}},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	c := &Config{CertDirs: []string{filepath.Join(dir, "none"), dir}}
	e := Endpoint{Host: "r.example:5000"}
	if cfg, err := c.TLS(e); err != nil || cfg.RootCAs != nil || cfg.InsecureSkipVerify {
		t.Fatalf("without a directory: %+v, %v", cfg, err)
	}
	at := filepath.Join(dir, e.Host)
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	before := c.CertState(e.Host)
	cert, key := pair(t)
	for name, content := range map[string][]byte{"ca.crt": cert, "client.cert": cert, "client.key": key} {
		if err := os.WriteFile(filepath.Join(at, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c.CertState(e.Host) == before {
		t.Error("new certificates are not noticed")
	}
	cfg, err := c.TLS(e)
	if err != nil || cfg.RootCAs == nil || len(cfg.Certificates) != 1 {
		t.Fatalf("%+v, %v", cfg, err)
	}
	if err := os.Remove(filepath.Join(at, "client.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TLS(e); err == nil || !strings.Contains(err.Error(), "has no key") {
		t.Errorf("without its key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(at, "ca.crt"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TLS(e); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("junk: %v", err)
	}
	for _, host := range []string{"..", "../x", "a/b"} {
		if got := c.certDir(host); got != "" {
			t.Errorf("certDir(%q) = %q", host, got)
		}
	}
}

func pair(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func TestProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://environment:1")
	t.Setenv("NO_PROXY", "")
	choose := func(p Proxy, target string) string {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		proxy, err := p.Func()(&http.Request{URL: u})
		if err != nil {
			t.Fatal(err)
		}
		if proxy == nil {
			return ""
		}
		return proxy.String()
	}
	if got := choose(Proxy{}, "https://quay.io/v2/"); got != "http://environment:1" {
		t.Errorf("from the environment: %q", got)
	}
	p := Proxy{HTTPS: "http://flag:2", No: "skip.example"}
	for target, want := range map[string]string{"https://quay.io/v2/": "http://flag:2", "https://skip.example/v2/": "", "https://127.0.0.1:5000/v2/": ""} {
		if got := choose(p, target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}
