package contexts

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

// maxPEM bounds a file with certificates or a key.
const maxPEM = 1 << 20

// endpointKeys are those of --docker, with the file that each one names.
var endpointKeys = map[string]string{
	"from": "", "host": "", "skip-tls-verify": "", "ca": "ca.pem", "cert": "cert.pem", "key": "key.pem",
}

const endpointHelp = "How to reach the daemon: host=, ca=, cert=, key=, skip-tls-verify=, or from=CONTEXT"

// endpoint is --docker, read: where the daemon is and its TLS material.
type endpoint struct {
	contextstore.Endpoint
	tls map[string][]byte
}

// parseEndpoint reads the flag's KEY=VALUE pairs and the files that they name.
func parseEndpoint(a *app.App, pairs map[string]string) (*endpoint, error) {
	for key := range pairs {
		if _, ok := endpointKeys[key]; !ok {
			return nil, fmt.Errorf("unable to create docker endpoint config: unrecognized config key: %s (there are %s)", key, strings.Join(slices.Sorted(maps.Keys(endpointKeys)), ", "))
		}
	}
	if from, ok := pairs["from"]; ok {
		if len(pairs) > 1 {
			return nil, errors.New("--docker from=CONTEXT takes all from that context: leave out the other keys")
		}
		return copyEndpoint(a, from)
	}
	e := &endpoint{tls: map[string][]byte{}}
	e.Host = pairs["host"]
	if e.Host != "" {
		if err := connect.CheckHost(e.Host); err != nil {
			return nil, fmt.Errorf("unable to create docker endpoint config: %w", err)
		}
	}
	if v, ok := pairs["skip-tls-verify"]; ok {
		skip, err := strconv.ParseBool(v)
		if err != nil {
			return nil, fmt.Errorf("--docker skip-tls-verify=%s: want true or false", v)
		}
		e.SkipTLSVerify = skip
	}
	for key, file := range endpointKeys {
		path := pairs[key]
		if file == "" || path == "" {
			continue
		}
		raw, err := readPEM(path)
		if err != nil {
			return nil, fmt.Errorf("--docker %s=%s: %w", key, path, err)
		}
		e.tls[file] = raw
	}
	if (e.tls["cert.pem"] == nil) != (e.tls["key.pem"] == nil) {
		return nil, errors.New("--docker: a certificate needs its key, and a key its certificate: give both cert= and key=")
	}
	return e, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxPEM {
		return nil, fmt.Errorf("it is larger than %d bytes, the most that certificates and keys may have", maxPEM)
	}
	if !strings.Contains(string(raw), "-----BEGIN ") {
		return nil, errors.New("there is no PEM block in it (-----BEGIN …)")
	}
	return raw, nil
}

// copyEndpoint takes the endpoint of a context, with its TLS material.
func copyEndpoint(a *app.App, name string) (*endpoint, error) {
	c, err := get(a, name)
	if err != nil {
		return nil, err
	}
	e := &endpoint{Endpoint: c.Docker(), tls: map[string][]byte{}}
	for file, path := range a.Contexts().TLS(name) {
		if e.tls[file], err = readPEM(path); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// store writes the context, its TLS material first: a context that is there works.
func (e *endpoint) store(a *app.App, c *contextstore.Context) error {
	c.SetDocker(e.Endpoint)
	if err := a.Contexts().SetTLS(c.Name, e.tls); err != nil {
		return err
	}
	return a.Contexts().Put(c)
}
