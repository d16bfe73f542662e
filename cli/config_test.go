package cli

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeConfig(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConfigFile(t *testing.T) {
	var header string
	routes := listRoutes()
	list := routes["GET /containers/json"]
	routes["GET /containers/json"] = func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("X-Site")
		list(w, r)
	}
	fakeDaemon(t, routes.ServeHTTP)
	dir := writeConfig(t, `{"psFormat":"{{.Names}}","HttpHeaders":{"X-Site":"here"},"unknown":1}`)
	if got := runCLI("--config", dir, "ps"); got.out != "web\nx\n" || header != "here" {
		t.Errorf("got %+v, header %q", got, header)
	}
	if got := runCLI("--config", dir, "ps", "-q"); !strings.HasPrefix(got.out, "0611e9a56be2\n") {
		t.Errorf("-q with a default format: %+v", got)
	}
	broken := writeConfig(t, `{"psFormat":`)
	if got := runCLI("--config", broken, "ps", "-q"); got.code != 0 || !strings.Contains(got.err, "WARNING: the configuration file "+broken) {
		t.Errorf("broken file: %+v", got)
	}
}

func TestDetachKeysOfTheConfigFile(t *testing.T) {
	var keys string
	routes := runRoutes(0)
	attach := routes["POST /containers/0123456789abcdef/attach"]
	routes["POST /containers/0123456789abcdef/attach"] = func(w http.ResponseWriter, r *http.Request) {
		keys = r.URL.Query().Get("detachKeys")
		attach(w, r)
	}
	fakeDaemon(t, routes.ServeHTTP)
	dir := writeConfig(t, `{"detachKeys":"ctrl-e,e"}`)
	if got := runCLI("--config", dir, "run", "image"); got.code != 0 || keys != "ctrl-e,e" {
		t.Errorf("keys %q, %+v", keys, got)
	}
}

// TestCredentials: a stored login goes to its own registry and to no other.
func TestCredentials(t *testing.T) {
	var header string
	fakeDaemon(t, route{"POST /images/create": func(_ http.ResponseWriter, r *http.Request) { header = r.Header.Get("X-Registry-Auth") }}.ServeHTTP)
	login := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	dir := writeConfig(t, `{"auths":{"reg.example:5000":{"auth":"`+login+`"},"https://index.docker.io/v1/":{"identitytoken":"tok"}}}`)
	for ref, want := range map[string]string{"reg.example:5000/x": `"password":"secret"`, "x": `"identitytoken":"tok"`, "other.example/x": ""} {
		if got := runCLI("--config", dir, "pull", "-q", ref); got.code != 0 {
			t.Errorf("%s: %+v", ref, got)
		}
		text, err := base64.URLEncoding.DecodeString(header)
		if err != nil || (want == "") != (len(text) == 0) || !strings.Contains(string(text), want) || len(text) > 0 && !json.Valid(text) {
			t.Errorf("%s: sent %q (%v)", ref, text, err)
		}
	}
}
