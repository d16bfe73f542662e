package hosts

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// maxCert bounds a file of certificates; a bundle of all authorities has 200 KB.
const maxCert = 4 << 20

// TLS is the configuration for a host: the system's authorities, those of
// certs.d/HOST/*.crt, and the client certificates HOST/*.cert with *.key.
func (c *Config) TLS(e Endpoint) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: e.Insecure}
	dir := c.certDir(e.Host)
	if dir == "" {
		return cfg, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of %s: %w", e.Host, err)
	}
	for _, entry := range entries {
		if err := addCert(cfg, dir, entry.Name(), e.Host); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

func addCert(cfg *tls.Config, dir, name, host string) error {
	path := filepath.Join(dir, name)
	switch filepath.Ext(name) {
	case ".crt":
		if cfg.RootCAs == nil {
			pool, err := x509.SystemCertPool()
			if err != nil {
				pool = x509.NewCertPool()
			}
			cfg.RootCAs = pool
		}
		pem, err := readCert(path)
		if err != nil {
			return err
		}
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return fault.New(fault.Invalid, "%s holds no certificate in PEM form", path)
		}
	case ".cert":
		key := strings.TrimSuffix(path, ".cert") + ".key"
		pair, err := tls.LoadX509KeyPair(path, key)
		if errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Invalid, "client certificate %s of registry %s has no key %s (authorities end in .crt)", path, host, key)
		}
		if err != nil {
			return fault.New(fault.Invalid, "client certificate %s of registry %s: %w", path, host, err)
		}
		cfg.Certificates = append(cfg.Certificates, pair)
	}
	return nil
}

func readCert(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCert))
}

// certDir is the first directory that there is for a host.
func (c *Config) certDir(host string) string {
	if host == "" || strings.ContainsAny(host, "/\x00") || host == "." || host == ".." {
		return ""
	}
	for _, base := range c.CertDirs {
		dir := filepath.Join(base, host)
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return dir
		}
	}
	return ""
}

// CertState changes when the certificates of a host do.
func (c *Config) CertState(host string) string {
	dir := c.certDir(host)
	if dir == "" {
		return ""
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, entry := range entries {
		if st, err := os.Stat(filepath.Join(dir, entry.Name())); err == nil {
			parts = append(parts, fmt.Sprint(entry.Name(), st.Size(), st.ModTime().UnixNano()))
		}
	}
	slices.Sort(parts)
	return dir + strings.Join(parts, " ")
}
