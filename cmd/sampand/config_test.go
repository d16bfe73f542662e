package main

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigure(t *testing.T) {
	tests := map[string]struct {
		args  []string
		file  string
		check func(*config) bool
		want  string // in the error
	}{
		"defaults": {check: func(c *config) bool {
			return c.dataRoot == "/var/lib/sampan" && slices.Equal(c.hosts, []string{"unix:///run/sampan/sampan.sock"}) &&
				c.pidFile == "/run/sampan/sampan.pid" && c.liveRestore && c.icc && c.ipMasq
		}},
		"several hosts": {args: []string{"-H", "unix:///a", "-H", "/b"}, check: func(c *config) bool {
			return slices.Equal(c.hosts, []string{"unix:///a", "unix:///b"})
		}},
		"host without a scheme": {args: []string{"-H", "127.0.0.1:2376", "--tlsverify"}, check: func(c *config) bool {
			return slices.Equal(c.hosts, []string{"tcp://127.0.0.1:2376"})
		}},
		"exec root": {args: []string{"--exec-root", "/x"}, check: func(c *config) bool {
			return c.hosts[0] == "unix:///x/sampan.sock" && c.pidFile == "/x/sampan.pid"
		}},
		"file": {
			file: `{"data-root":"/d","hosts":["unix:///h"],"debug":true,"log-opts":{"max-size":"1m","max-file":2},"mtu":1400,"live-restore":false,
				"default-ulimits":{"nofile":{"Name":"nofile","Hard":64000,"Soft":32000}},"dns":["9.9.9.9"],"default-shm-size":"1G",
				"default-address-pools":[{"base":"10.9.0.0/16","size":24}],"userland-proxy":false,"experimental":false,"labels":["a=b"]}`,
			check: func(c *config) bool {
				n, err := c.network(nil)
				return c.dataRoot == "/d" && c.hosts[0] == "unix:///h" && c.debug && c.logOpts["max-file"] == "2" && c.mtu == 1400 && !c.liveRestore &&
					len(c.ulimits) == 1 && c.ulimits[0].Hard == 64000 && c.ulimits[0].Soft == 32000 && c.shmSize == 1<<30 &&
					err == nil && len(n.DefaultPools) == 1 && n.DefaultPools[0].Size == 24
			},
		},
		"empty file":  {file: " \n", check: func(c *config) bool { return c.liveRestore }},
		"conflict":    {args: []string{"--mtu", "1300", "-H", "unix:///a"}, file: `{"mtu":1400,"hosts":[]}`, want: "specified both as a flag and in the configuration file: hosts: (from flag: [unix:///a], from file: []), mtu: (from flag: 1300, from file: 1400)"},
		"unknown key": {file: `{"colour":"red","zz":1}`, want: "the following directives don't match any configuration option: colour, zz"},
		"broken file": {file: `{"mtu":`, want: "unable to configure the daemon with file"},
		"wrong type":  {file: `{"mtu":"wide"}`, want: "mtu"},
		"registries": {
			file: `{"registry-mirrors":["https://m"],"insecure-registries":["plain.example:5000","10.1.0.0/16"],"max-concurrent-downloads":7,
				"registries":{"quay.io":{"mirrors":["one.example","http://two.example/quay"]},"*":{"mirrors":["three.example"]}}}`,
			check: func(c *config) bool {
				h := c.registry.hosts()
				return h.Mirrors[0] == "https://m" && len(h.Insecure) == 2 && c.registry.downloads == 7 &&
					slices.Equal(h.Registries["quay.io"].Mirrors, []string{"one.example", "http://two.example/quay"}) && len(h.Registries["*"].Mirrors) == 1
			},
		},
		"network options": {
			file: `{"default-network-opts":{"bridge":{"com.docker.network.driver.mtu":"1400","a":"b=c"}}}`,
			check: func(c *config) bool {
				o, err := networkOptions(append(c.networkOpts, "bridge=x=y=z", "macvlan=parent=eth0"))
				return err == nil && o["bridge"]["com.docker.network.driver.mtu"] == "1400" && o["bridge"]["a"] == "b=c" && o["bridge"]["x"] == "y=z" && o["macvlan"]["parent"] == "eth0"
			},
		},
		"mirror":           {args: []string{"--registry-mirror", "ftp://m"}, want: "neither https nor http"},
		"mirror's login":   {file: `{"registries":{"quay.io":{"mirrors":["https://a:b@m"]}}}`, want: "without a login"},
		"registry's key":   {file: `{"registries":{"quay.io":{"mirror":"m"}}}`, want: "unknown field"},
		"insecure":         {args: []string{"--insecure-registry", "http://m"}, want: "leave out the scheme"},
		"downloads":        {args: []string{"--max-concurrent-downloads", "0"}, want: "must be at least 1"},
		"refused in file":  {file: `{"storage-opts":["x=y"]}`, want: "--storage-opt: "},
		"refused flag":     {args: []string{"--userns-remap", "no-such-user"}, want: "--userns-remap: "},
		"refused bool":     {args: []string{"--selinux-enabled"}, want: "--selinux-enabled: "},
		"refused is false": {args: []string{"--selinux-enabled=false"}, check: func(*config) bool { return true }},
		"unknown flag":     {args: []string{"--frobnicate"}, want: "unknown flag"},
		"argument":         {args: []string{"start"}, want: `"start" is not a flag`},
		"log driver":       {args: []string{"--log-driver", "syslog"}, want: "not available yet"},
		"log option":       {args: []string{"--log-opt", "max-size=x"}, want: "max-size"},
		"log level":        {args: []string{"-l", "loud"}, want: "--log-level loud"},
		"storage":          {args: []string{"-s", "zfs"}, want: "storage driver zfs is not available"},
		"iptables": {args: []string{"--iptables=false", "--ip6tables=false", "--userland-proxy=true"}, check: func(c *config) bool {
			n, err := c.network(nil)
			return err == nil && n.NoRules
		}},
		"a service file of Docker's": {args: []string{"--containerd=/run/containerd/containerd.sock", "--add-runtime", "later=/no/such/program"}, check: func(c *config) bool {
			return c.runtimes["later"].Path == "/no/such/program"
		}},
		"no default runtime": {args: []string{"--add-runtime", "later=/no/such/program", "--default-runtime", "later"}, want: "its program is missing"},
		"ip6tables":          {args: []string{"--ip6tables=false"}, want: "--ip6tables=false"},
		"features": {file: `{"features":{"buildkit":true,"cdi":false,"containerd-snapshotter":false}}`, check: func(c *config) bool {
			return c.features.String() == "map[buildkit:true cdi:false containerd-snapshotter:false]" && len(c.cdiDirs) == 0
		}},
		"no CDI directories":        {file: `{"cdi-spec-dirs":[]}`, check: func(c *config) bool { return len(c.cdiDirs) == 0 }},
		"an empty CDI directory":    {args: []string{"--cdi-spec-dir="}, check: func(c *config) bool { return len(c.cdiDirs) == 0 }},
		"feature that is not there": {args: []string{"--feature", "containerd-snapshotter"}, want: "store of its own"},
		"unknown feature":           {args: []string{"--feature", "cid=true"}, want: "there is no feature of that name"},
		"ulimit":                    {args: []string{"--default-ulimit", "wings=1"}, want: "wings"},
		"dns":                       {args: []string{"--dns", "one"}, want: "--dns one"},
		"bridge and bip":            {args: []string{"-b", "br0", "--bip", "10.0.0.1/24"}, want: "mutually exclusive"},
		"pool":                      {args: []string{"--default-address-pool", "base=10.0.0.0/24,size=8"}, want: "--default-address-pool"},
		"missing file":              {args: []string{"--config-file", "/no/such/file"}, want: "no such file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			args := tt.args
			if tt.file != "" {
				args = append(args, "--config-file", configFile(t, tt.file))
			}
			c, err := configure(args)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want an error with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(c) {
				t.Fatalf("got %+v", c)
			}
		})
	}
}

// TestEveryFlagOfDockerdIsKnown holds the flags against dockerd's.
func TestEveryFlagOfDockerdIsKnown(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&config{}).define(f)
	defineRefused(f)
	list, err := os.Open("testdata/dockerd_flags.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	n := 0
	for lines := bufio.NewScanner(list); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || strings.HasPrefix(fields[0], "#") || fields[0] == "--help" {
			continue
		}
		n++
		flag := f.Lookup(strings.TrimPrefix(fields[0], "--"))
		if flag == nil {
			t.Errorf("%s is unknown", fields[0])
			continue
		}
		if short := strings.TrimPrefix(fields[1], "-"); flag.Shorthand != short {
			t.Errorf("%s has the short form %q, want %q", fields[0], flag.Shorthand, short)
		}
		if isBool := flag.Value.Type() == "bool"; isBool != (fields[2] == "bool") {
			t.Errorf("%s has type %s, want %s", fields[0], flag.Value.Type(), fields[2])
		}
	}
	if n < 70 {
		t.Fatalf("only %d flags in the list", n)
	}
}
