package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestContexts types the verbs one after another, with one configuration
// directory for all.
func TestContexts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("SAMPAN_HOST", "")
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "")
	archive := filepath.Join(dir, "c.tar")
	noPEM := filepath.Join(dir, "config.json")
	for _, c := range []struct {
		args, out, err string
		code           int
	}{
		{"context show", "default\n", "", 0},
		{"context create c1 --docker host=tcp://127.0.0.1:1 --description first", "c1\n", "Successfully created context \"c1\"\n", 0},
		{"context create c1", "", "context \"c1\" already exists\n", 1},
		{"context create x", "", "context name \"x\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"\n", 1},
		{"context create default", "", "\"default\" is a reserved context name\n", 1},
		{"context create c2 --docker nosuch=1", "", "unable to create docker endpoint config: unrecognized config key: nosuch (there are ca, cert, from, host, key, skip-tls-verify)\n", 1},
		{"context create c2 --docker host=zz://a", "", "unable to create docker endpoint config: \"zz://a\": unknown scheme zz:// (use unix:// or tcp://)\n", 1},
		{"context create c2 --docker from=c1,host=tcp://a", "", "--docker from=CONTEXT takes all from that context: leave out the other keys\n", 1},
		{"context create c2 --from c1 --docker host=tcp://a", "", "cannot use --docker flag when --from is set\n", 1},
		{"context create c2 --from nosuch", "", "context \"nosuch\" does not exist\n", 1},
		{"context use nosuch", "", "context \"nosuch\" does not exist\n", 1},
		{"context use c1", "c1\n", "Current context is now \"c1\"\n", 0},
		{"context create c2 --docker host=tcp://a,ca=" + noPEM, "", "--docker ca=" + noPEM + ": there is no PEM block in it (-----BEGIN …)\n", 1},
		{"context show", "c1\n", "", 0},
		{"context ls", "NAME      DESCRIPTION                                             DOCKER ENDPOINT                      ERROR\nc1 *      first                                                   tcp://127.0.0.1:1                    \ndefault   Current SAMPAN_HOST or DOCKER_HOST based configuration   unix:///run/sampan/sampan.sock   \n", "", 0},
		{"context ls -q", "c1\ndefault\n", "", 0},
		{"context ls --format {{.Name}}:{{.Current}}", "c1:true\ndefault:false\n", "", 0},
		{"context create c2", "c2\n", "Successfully created context \"c2\"\n", 0},
		{"context update c2 --description second", "c2\n", "Successfully updated context \"c2\"\n", 0},
		{"context update nosuch", "", "context \"nosuch\" does not exist\n", 1},
		{"context inspect -f {{.Name}}|{{.Endpoints.docker.Host}}|{{.Metadata.Description}} c2", "c2|tcp://127.0.0.1:1|second\n", "", 0},
		{"context inspect -f {{.Name}}", "c1\n", "", 0},
		{"context inspect nosuch", "[]\n", "context \"nosuch\" does not exist\n", 1},
		{"context export c2 " + archive, "", "Written file \"" + archive + "\"\n", 0},
		{"context import c3 " + archive, "c3\n", "Successfully imported context \"c3\"\n", 0},
		{"context import c3 " + archive, "", "context \"c3\" already exists\n", 1},
		{"context import c4 " + noPEM, "", "the archive is not one of `context export`: ", 1},
		{"context rm c1", "", "context \"c1\" is in use, set -f flag to force remove\n", 1},
		{"context rm default", "", "context \"default\" cannot be removed\n", 1},
		{"context rm c2 nosuch", "c2\n", "context \"nosuch\" does not exist\n", 1},
		{"ps", "", "Cannot connect to the Sampan daemon at tcp://127.0.0.1:1. ", 1},
		{"version -f {{.Client.Context}}", "c1\n", "Cannot connect to the Sampan daemon at tcp://127.0.0.1:1. ", 1},
		{"--context c3 ps", "", "Cannot connect to the Sampan daemon at tcp://127.0.0.1:1. ", 1},
		{"--context nosuch ps", "", "context \"nosuch\" does not exist\n", 1},
		{"--context c3 -H tcp://a ps", "", "conflicting options: cannot specify both --host and --context\n", 1},
		{"-H unix:///nonexistent/socket ps", "", "Cannot connect to the Sampan daemon at unix:///nonexistent/socket. ", 1},
		{"context rm -f c1 nosuch", "c1\nnosuch\n", "", 0},
		{"context show", "default\n", "", 0},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := runCLI(strings.Split(c.args, " ")...)
			same := strings.Join(strings.Fields(got.out), " ") == strings.Join(strings.Fields(c.out), " ")
			if got.code != c.code || !same || !strings.HasPrefix(got.err, c.err) || c.err == "" && got.err != "" {
				t.Errorf("got code %d, out %q, err %q", got.code, got.out, got.err)
			}
		})
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "config.json")); err != nil || strings.Contains(string(raw), "currentContext") {
		t.Errorf("a context that is gone is still chosen: %s, %v", raw, err)
	}
}

// TestContextAndVariables: a host in the environment comes before a context that
// was chosen for good, and after one on the command line.
func TestContextAndVariables(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("SAMPAN_HOST", "")
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "")
	for _, args := range []string{"context create far --docker host=tcp://127.0.0.1:1", "context create other --docker host=tcp://127.0.0.1:2", "context use far"} {
		if got := runCLI(strings.Fields(args)...); got.code != 0 {
			t.Fatalf("%s: %+v", args, got)
		}
	}
	t.Setenv("DOCKER_CONTEXT", "other")
	if got := runCLI("context", "show"); got.out != "other\n" {
		t.Errorf("DOCKER_CONTEXT is not used: %+v", got)
	}
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/socket")
	if got := runCLI("ps"); !strings.Contains(got.err, "unix:///nonexistent/socket") {
		t.Errorf("DOCKER_HOST is not used: %+v", got)
	}
	if got := runCLI("--context", "far", "ps"); !strings.Contains(got.err, "tcp://127.0.0.1:1") {
		t.Errorf("--context is not used: %+v", got)
	}
	if got := runCLI("context", "use", "far"); !strings.Contains(got.err, "Warning: DOCKER_HOST environment variable overrides the active context") {
		t.Errorf("no warning: %+v", got)
	}
}
