package connect

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"

	"github.com/docker/go-connections/tlsconfig"
)

// TLS holds the global tls flags.
type TLS struct {
	Enable            bool // --tls
	Verify            bool // --tlsverify
	CA, Cert, Key     string
	CASet, CertSet    bool
	KeySet, VerifySet bool
}

// Requested tells whether the connection is to be encrypted.
func (t TLS) Requested() bool { return t.Enable || t.Verify }

// fromEnv adds DOCKER_TLS_VERIFY and DOCKER_CERT_PATH where no flag was given.
func (t TLS) fromEnv() TLS {
	if !t.VerifySet && os.Getenv("DOCKER_TLS_VERIFY") != "" {
		t.Verify = true
	}
	dir := os.Getenv("DOCKER_CERT_PATH")
	if dir == "" {
		if home, err := os.UserHomeDir(); err == nil {
			dir = filepath.Join(home, ".docker")
		}
	}
	for _, f := range []struct {
		path *string
		set  bool
		name string
	}{{&t.CA, t.CASet, "ca.pem"}, {&t.Cert, t.CertSet, "cert.pem"}, {&t.Key, t.KeySet, "key.pem"}} {
		if !f.set && *f.path == "" {
			*f.path = filepath.Join(dir, f.name)
		}
	}
	return t
}

// config builds the client's TLS configuration; nil means plain text.
func (t TLS) config(serverName string) (*tls.Config, error) {
	if !t.Requested() {
		return nil, nil
	}
	o := tlsconfig.Options{ExclusiveRootPools: true, MinVersion: tls.VersionTLS12, InsecureSkipVerify: !t.Verify}
	if t.Verify {
		o.CAFile = t.CA
	}
	// A client certificate is optional with --tls, as in Docker: files that
	// were only guessed from the default directory may be missing.
	_, certErr := os.Stat(t.Cert)
	_, keyErr := os.Stat(t.Key)
	if t.CertSet || t.KeySet || certErr == nil && keyErr == nil {
		o.CertFile, o.KeyFile = t.Cert, t.Key
	}
	cfg, err := tlsconfig.Client(o)
	if err != nil {
		return nil, fmt.Errorf("set up TLS: %w", err)
	}
	cfg.ServerName = serverName
	return cfg, nil
}
