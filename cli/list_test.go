package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ago makes relative times in goldens stable.
func ago(d time.Duration) int64 { return time.Now().Add(-d).Unix() }

func listRoutes() route {
	return route{
		"GET /containers/json": reply(200, []map[string]any{
			{
				"Id": "0611e9a56be22780a44b599d01f90926508b7299025fb48e8eac8ad5fb4ac982", "Names": []string{"/web", "/other/link"}, "Image": "nginx:1",
				"Command": "nginx -g 'daemon off;' and more", "Created": ago(3 * time.Minute), "State": "running", "Status": "Up 3 minutes",
				"Labels": map[string]string{"b": "2", "a": "1"},
				"Ports": []map[string]any{
					{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
					{"IP": "0.0.0.0", "PrivatePort": 9001, "PublicPort": 9001, "Type": "udp"}, {"IP": "0.0.0.0", "PrivatePort": 9000, "PublicPort": 9000, "Type": "udp"},
					{"PrivatePort": 443, "Type": "tcp"},
				},
				"NetworkSettings": map[string]any{"Networks": map[string]any{"bridge": map[string]any{}}},
				"Mounts":          []map[string]any{{"Type": "volume", "Name": "a-very-long-volume-name", "Driver": "local"}, {"Type": "bind", "Source": "/srv"}},
				"SizeRw":          1200, "SizeRootFs": 2_500_000,
			},
			{"Id": "8f0", "Names": []string{"/x"}, "Image": "", "Command": "", "Created": ago(48 * time.Hour), "State": "exited", "Status": "Exited (0) 1 hour ago"},
		}),
		"GET /images/json": reply(200, []map[string]any{
			{"Id": "sha256:fa01090535ec250de8e2027121929a12d5dbdd1e322aab4efcd3c0ec1e320c14", "RepoTags": []string{"bb:latest", "reg.io:5000/x/bb:1"}, "RepoDigests": []string{"bb@sha256:aa"}, "Created": ago(2 * time.Hour), "Size": 1_980_000, "SharedSize": -1, "Containers": -1},
			{"Id": "sha256:bb", "RepoTags": []string{}, "RepoDigests": []string{}, "Created": ago(time.Hour), "Size": 5, "SharedSize": -1, "Containers": -1},
		}),
		"GET /images/bb/history": reply(200, []map[string]any{
			{"Id": "sha256:fa01090535ec250d", "Created": ago(2 * time.Hour), "CreatedBy": "/bin/sh -c #(nop)\tCMD a very long command that has to be cut", "Size": 1_980_000, "Comment": "c"},
			{"Id": "<missing>", "Created": ago(3 * time.Hour), "CreatedBy": "", "Size": 0, "Comment": "Imported from -"},
		}),
		"GET /networks": reply(200, []map[string]any{
			{"Name": "host", "Id": "c63895a67cdf00", "Driver": "host", "Scope": "local"}, {"Name": "bridge", "Id": "84e60a57790e00", "Driver": "bridge", "Scope": "local", "EnableIPv4": true},
		}),
	}
}

func TestLists(t *testing.T) {
	fakeDaemon(t, listRoutes().ServeHTTP)
	for _, c := range []struct{ name, args, out string }{
		{"ps", "ps", `CONTAINER ID   IMAGE        COMMAND                  CREATED         STATUS                  PORTS                                                                                            NAMES
0611e9a56be2   nginx:1      "nginx -g 'daemon of…"   3 minutes ago   Up 3 minutes            443/tcp, 0.0.0.0:9000-9001->9000-9001/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp   web
8f0            <no image>   ""                       2 days ago      Exited (0) 1 hour ago                                                                                       x
`},
		{"quiet", "ps -q", "0611e9a56be2\n8f0\n"},
		{"full ids", "ps -q --no-trunc", "0611e9a56be22780a44b599d01f90926508b7299025fb48e8eac8ad5fb4ac982\n8f0\n"},
		{"template", `ps --format {{.Names}}|{{.Label|"a"}}`, ""},
		{"table template", "ps --format table|{{.Names}}\\t{{.Size}}", "NAMES     SIZE\nweb       1.2kB (virtual 2.5MB)\nx         0B\n"},
		{"functions", "ps --format {{upper|.Names}},{{lower|.Image}},{{join|(split|.Labels|\",\")|\"+\"}},{{truncate|.ID|3}},{{pad|.Names|1|2}}.", "WEB,nginx:1,a=1+b=2,061, web  .\nX,<no image>,,8f0, x  .\n"},
		{"mounts", "ps --format {{.Mounts}};{{.LocalVolumes}};{{.Networks}}", "a-very-long-vo…,/srv;1;bridge\n;0;\n"},
		{"images", "images", `REPOSITORY         TAG       IMAGE ID       CREATED             SIZE
<none>             <none>    bb             About an hour ago   5B
bb                 latest    fa01090535ec   2 hours ago         1.98MB
reg.io:5000/x/bb   1         fa01090535ec   2 hours ago         1.98MB
`},
		{"digests", "images --digests --format {{.Repository}}:{{.Tag}}@{{.Digest}}", "<none>:<none>@<none>\nbb:latest@sha256:aa\nreg.io:5000/x/bb:1@<none>\n"},
		{"history", "history bb", `IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT
fa01090535ec   2 hours ago   /bin/sh -c #(nop) CMD a very long command th…   1.98MB    c
<missing>      3 hours ago                                                   0B        Imported from -
`},
		{"history for scripts", "history -H=false --format {{.Size}} bb", "1980000\n0\n"},
		{"networks", "network ls", `NETWORK ID     NAME      DRIVER    SCOPE
84e60a57790e   bridge    bridge    local
c63895a67cdf   host      host      local
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var args []string
			for _, arg := range strings.Split(c.args, " ") {
				// A bar stands for a blank within an argument.
				args = append(args, strings.ReplaceAll(arg, "|", " "))
			}
			want := c.out
			if c.name == "template" {
				args, want = []string{"ps", "--format", `{{.Names}} {{.Label "a"}}`}, "web 1\nx \n"
			}
			got := runCLI(args...)
			if got.code != 0 || got.err != "" {
				t.Fatalf("got %+v", got)
			}
			if squeeze(got.out) != squeeze(want) {
				t.Errorf("got\n%s\nwant\n%s", got.out, want)
			}
		})
	}
}

// squeeze makes the width of the ports column irrelevant, everything else not.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.Contains(s, "PORTS") {
			l = strings.Join(strings.Fields(l), " ")
		}
		lines[i] = l
	}
	return strings.Join(lines, "\n")
}

// TestJSONKeys: `--format json` has the keys of Docker's client.
func TestJSONKeys(t *testing.T) {
	fakeDaemon(t, listRoutes().ServeHTTP)
	for args, keys := range map[string]string{
		"ps --format json":         "Command CreatedAt ID Image Labels LocalVolumes Mounts Names Networks Platform Ports RunningFor Size State Status",
		"images --format json":     "Containers CreatedAt CreatedSince Digest ID Repository SharedSize Size Tag UniqueSize VirtualSize",
		"history --format json bb": "Comment CreatedAt CreatedBy CreatedSince ID Size",
		"network ls --format json": "CreatedAt Driver ID IPv4 IPv6 Internal Labels Name Scope",
	} {
		t.Run(args, func(t *testing.T) {
			got := runCLI(strings.Split(args, " ")...)
			line, _, _ := strings.Cut(got.out, "\n")
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatalf("%v: %+v", err, got)
			}
			for _, key := range strings.Fields(keys) {
				if _, ok := row[key]; !ok {
					t.Errorf("%s is missing", key)
				}
				delete(row, key)
			}
			if len(row) > 0 {
				t.Errorf("more than Docker's: %v", row)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	fakeDaemon(t, route{"GET /version": reply(200, map[string]any{
		"Platform": map[string]string{"Name": "Sampan"}, "Version": "9", "ApiVersion": "1.50", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64",
		"Components": []map[string]any{{"Name": "Engine", "Version": "9", "Details": map[string]string{"GoVersion": "go9", "GitCommit": "abc"}}},
	})}.ServeHTTP)
	got := runCLI("version")
	for _, want := range []string{"Client: Sampan\n", " API version:       1.", "\nServer: Sampan\n Engine:\n  Version:          9\n", "  API version:      1.50 (minimum version 1.24)\n", "  Git commit:       abc\n"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%q is missing in\n%s", want, got.out)
		}
	}
	if got := runCLI("version", "-f", "{{.Server.Version}} {{.Server.GoVersion}}"); got.out != "9 go9\n" {
		t.Errorf("template: %+v", got)
	}
	if got := runCLI("--version"); got.code != 0 || !strings.HasPrefix(got.out, "Sampan version ") {
		t.Errorf("--version: %+v", got)
	}
}

// TestVersionWithoutDaemon: the client's part is printed, the exit code is 1.
func TestVersionWithoutDaemon(t *testing.T) {
	t.Setenv("SAMPAN_HOST", "unix:///nonexistent/socket")
	got := runCLI("version")
	if got.code != 1 || !strings.HasPrefix(got.out, "Client: Sampan\n") || !strings.HasPrefix(got.err, "Cannot connect") {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("version", "-f", "{{.Server.Version}}"); got.code != 1 || !strings.HasPrefix(got.err, "Cannot connect") {
		t.Errorf("a template: %+v", got)
	}
}

func TestPort(t *testing.T) {
	fakeDaemon(t, route{"GET /containers/c/json": reply(200, map[string]any{"NetworkSettings": map[string]any{"Ports": map[string]any{
		"80/tcp": []map[string]string{{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}}, "9/udp": []map[string]string{{"HostIp": "127.0.0.1", "HostPort": "99"}}, "1/tcp": nil,
	}}})}.ServeHTTP)
	if got := runCLI("port", "c"); got.out != "9/udp -> 127.0.0.1:99\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n" {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("port", "c", "9/udp"); got.out != "127.0.0.1:99\n" {
		t.Errorf("got %+v", got)
	}
	if got := runCLI("port", "c", "1"); got.code != 1 || got.err != "no public port '1' published for c\n" {
		t.Errorf("got %+v", got)
	}
}

func TestLogs(t *testing.T) {
	fakeDaemon(t, route{
		"GET /containers/c/json": reply(200, map[string]any{"Id": "c", "Config": map[string]any{"Tty": false}}),
		"GET /containers/c/logs": func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Get("tail") != "5" || q.Get("follow") != "1" || q.Get("timestamps") != "1" {
				t.Errorf("query %v", q)
			}
			_, _ = w.Write(append(frame(1, "one\x1b[1m\n"), frame(2, "two\n")...))
		},
	}.ServeHTTP)
	if got := runCLI("logs", "-ft", "-n", "5", "c"); got.out != "one\x1b[1m\n" || got.err != "two\n" || got.code != 0 {
		t.Errorf("got %+v", got)
	}
}

// TestEventFields: the fields that Docker's own examples of --format use are there,
// also those that the API's type lost.
func TestEventFields(t *testing.T) {
	fakeDaemon(t, route{
		"GET /events": reply(200, map[string]any{"Type": "container", "Action": "start", "Actor": map[string]any{"ID": "1", "Attributes": map[string]any{"image": "bb"}}, "time": 5}),
	}.ServeHTTP)
	for format, want := range map[string]string{
		"Type={{.Type}}  Status={{.Status}}  ID={{.ID}}":  "Type=container  Status=start  ID=1\n",
		"{{.From}} {{.Actor.Attributes.image}} {{.Time}}": "bb bb 5\n",
		"{{json .}}": `{"status":"start","id":"1","from":"bb","Type":"container","Action":"start","Actor":{"ID":"1","Attributes":{"image":"bb"}},"time":5}` + "\n",
	} {
		t.Run(format, func(t *testing.T) {
			if got := runCLI("events", "--format", format); got.code != 0 || got.out != want {
				t.Errorf("got %+v, want %q", got, want)
			}
		})
	}
	// What comes before a field that does not exist is not printed.
	if got := runCLI("events", "--format", "{{.Type}} {{.Nosuch}}"); got.code == 0 || got.out != "" {
		t.Errorf("got %+v", got)
	}
}

func TestDefaultPlatform(t *testing.T) {
	fakeDaemon(t, route{
		"POST /images/create": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"status":"for %s"}`, r.URL.Query().Get("platform"))
		},
	}.ServeHTTP)
	t.Setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
	for args, want := range map[string]string{"pull bb": "for linux/arm64\n", "pull --platform linux/riscv64 bb": "for linux/riscv64\n"} {
		if got := runCLI(strings.Fields(args)...); !strings.Contains(got.out, want) {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
}
