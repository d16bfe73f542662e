package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/registry/client"
	"github.com/sampan-containers/sampan/registry/hosts"
	"github.com/sampan-containers/sampan/version"
)

// certDirs hold the certificates of registries, one directory for each host:
// ours, then Docker's, so that a machine that has them needs nothing new.
var certDirs = []string{"/etc/sampan/certs.d", "/etc/docker/certs.d"}

// registryOptions are the flags about registries.
type registryOptions struct {
	mirrors, insecure              []string
	table                          registryTable
	downloads, uploads, attempts   int
	httpProxy, httpsProxy, noProxy string
	keepBlobs                      bool
}

func (o *registryOptions) define(f *pflag.FlagSet) {
	f.StringArrayVar(&o.mirrors, "registry-mirror", nil, "Preferred registry mirror of Docker Hub; for other registries see the table registries of the configuration file")
	f.StringArrayVar(&o.insecure, "insecure-registry", nil, "Registry (host, host:port or CIDR) that may be reached by plain HTTP, or with any certificate")
	f.Var(&o.table, "registries", `Mirrors and rights of a registry, as NAME={"mirrors":[…],"insecure":false,"token-servers":[…]}`)
	f.IntVar(&o.downloads, "max-concurrent-downloads", transfer.DefaultDownloads, "Set the max concurrent downloads")
	f.IntVar(&o.uploads, "max-concurrent-uploads", transfer.DefaultUploads, "Set the max concurrent uploads")
	f.IntVar(&o.attempts, "max-download-attempts", client.DefaultLimits().Attempts, "Set the max download attempts for each pull")
	f.BoolVar(&o.keepBlobs, "keep-blobs", true, "Keep the compressed layers of a pull beside their files, so that push and save need not make them again")
	f.StringVar(&o.httpProxy, "http-proxy", "", "HTTP proxy URL to use for outgoing traffic")
	f.StringVar(&o.httpsProxy, "https-proxy", "", "HTTPS proxy URL to use for outgoing traffic")
	f.StringVar(&o.noProxy, "no-proxy", "", "Comma-separated list of hosts or IP addresses for which the proxy is skipped")
	_ = f.MarkHidden("registries") // defined above; a table is for the file
}

func (o *registryOptions) check() error {
	for flag, n := range map[string]int{"max-concurrent-downloads": o.downloads, "max-concurrent-uploads": o.uploads, "max-download-attempts": o.attempts} {
		if n < 1 {
			return fmt.Errorf("--%s %d: must be at least 1", flag, n)
		}
	}
	return o.hosts().Validate()
}

func (o *registryOptions) hosts() *hosts.Config {
	return &hosts.Config{
		Mirrors: o.mirrors, Insecure: o.insecure, Registries: o.table, CertDirs: certDirs,
		Proxy: hosts.Proxy{HTTP: o.httpProxy, HTTPS: o.httpsProxy, No: o.noProxy},
	}
}

func (o *registryOptions) client() *client.Client {
	limits := client.DefaultLimits()
	limits.Attempts = o.attempts
	return client.New(o.hosts(), limits, "sampan/"+version.Version)
}

// info is what /info tells of registries.
func (o *registryOptions) info() *registry.ServiceConfig {
	cidrs, names := o.hosts().InsecureNames()
	mirrors := append([]string{}, o.mirrors...)
	for i, m := range mirrors {
		mirrors[i] = strings.TrimSuffix(m, "/") + "/"
	}
	s := &registry.ServiceConfig{
		InsecureRegistryCIDRs: cidrs, Mirrors: mirrors,
		IndexConfigs: map[string]*registry.IndexInfo{hosts.Hub: {Name: hosts.Hub, Mirrors: mirrors, Secure: true, Official: true}},
	}
	for _, name := range names {
		s.IndexConfigs[name] = &registry.IndexInfo{Name: name, Mirrors: []string{}}
	}
	for key, row := range o.table {
		if s.IndexConfigs[key] == nil {
			s.IndexConfigs[key] = &registry.IndexInfo{Name: key, Secure: !row.Insecure}
		}
		s.IndexConfigs[key].Mirrors = append([]string{}, row.Mirrors...)
	}
	return s
}

// registryTable is the table "registries" of the configuration file.
type registryTable map[string]hosts.Registry

func (t *registryTable) String() string {
	keys := make([]string, 0, len(*t))
	for key := range *t {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return "[" + strings.Join(keys, " ") + "]"
}

func (t *registryTable) Set(text string) error {
	key, raw, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf(`want NAME={"mirrors":[…]}`)
	}
	dec := json.NewDecoder(strings.NewReader(raw))
	dec.DisallowUnknownFields()
	var row hosts.Registry
	if err := dec.Decode(&row); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if *t == nil {
		*t = registryTable{}
	}
	(*t)[filepath.Clean(key)] = row
	return nil
}

func (t *registryTable) Type() string { return "table" }
