package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/cli/app"
)

func TestFindPlugin(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	own, extra := filepath.Join(dir, "cli-plugins"), filepath.Join(dir, "extra")
	for path, mode := range map[string]os.FileMode{
		own + "/docker-hello": 0o755, extra + "/docker-hello": 0o755, extra + "/docker-more": 0o755,
		own + "/docker-text": 0o644, own + "/docker-Big": 0o755, dir + "/docker-up": 0o755,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(own+"/docker-dir", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"cliPluginsExtraDirs":["`+extra+`"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := app.New(ownName, strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
	for command, want := range map[string]string{
		"hello": own + "/docker-hello", "more": extra + "/docker-more",
		"text": "", "dir": "", "Big": "", "../docker-up": "", "": "", "nosuch": "",
	} {
		if got := findPlugin(a, command); got != want {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
}
