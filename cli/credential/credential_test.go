package credential

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/cli/app"
)

func client(dir string) *app.App {
	a := app.New("sampan", strings.NewReader(""), io.Discard, io.Discard)
	a.Global.ConfigDir = dir
	return a
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestKey(t *testing.T) {
	for server, want := range map[string]string{
		"": HubKey, "docker.io": HubKey, "index.docker.io": HubKey, HubKey: HubKey, "registry-1.docker.io": HubKey,
		"quay.io": "quay.io", "https://quay.io/v2/": "quay.io", "http://localhost:5000": "localhost:5000",
	} {
		if got := Key(server); got != want {
			t.Errorf("Key(%q) = %q", server, got)
		}
	}
}

// TestFile: a login is kept as docker keeps it, and nothing else in the file changes.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	write(t, path, `{"psFormat":"x","proxies":{"default":{"httpProxy":"p"}},"auths":{"https://old.example/v1/":{"auth":"YTpi"},"other.example":{"auth":"Yzpk"}}}`, 0o644)
	ctx := t.Context()

	got, err := Get(ctx, client(dir), "old.example")
	if err != nil || got == nil || got.Username != "a" || got.Password != "b" {
		t.Fatalf("an entry with a scheme: %+v, %v", got, err)
	}
	if none, err := Get(ctx, client(dir), "none.example"); err != nil || none != nil || none.Header() != "" {
		t.Errorf("no entry: %+v, %v", none, err)
	}
	file, err := Store(ctx, client(dir), &Login{Username: "u", Password: "p:w", ServerAddress: "new.example:5000"})
	if err != nil || file != path {
		t.Fatalf("Store = %q, %v", file, err)
	}
	if got, err := Get(ctx, client(dir), "https://new.example:5000/"); err != nil || got == nil || got.Password != "p:w" {
		t.Errorf("after Store: %+v, %v", got, err)
	}
	var values map[string]any
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &values); err != nil || values["psFormat"] != "x" || values["proxies"] == nil || len(values["auths"].(map[string]any)) != 3 {
		t.Errorf("the file: %s, %v", raw, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read the logins: %v, %v", st.Mode(), err)
	}
	if found, err := Erase(ctx, client(dir), "old.example"); err != nil || !found {
		t.Errorf("Erase = %v, %v", found, err)
	}
	if found, err := Erase(ctx, client(dir), "old.example"); err != nil || found {
		t.Errorf("Erase again = %v, %v", found, err)
	}
	if got, err := Get(ctx, client(dir), "other.example"); err != nil || got == nil || got.Username != "c" {
		t.Errorf("another's login after Erase: %+v, %v", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

func TestBrokenFileIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	write(t, path, `{"auths":`, 0o600)
	if _, err := Store(t.Context(), client(dir), &Login{Username: "u", ServerAddress: "x.example"}); err == nil {
		t.Error("a broken file was changed")
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != `{"auths":` {
		t.Errorf("%q, %v", raw, err)
	}
}

// helper is a credential helper that keeps one login in a file.
const helper = `#!/bin/sh
cd "$HELPER_DIR" || exit 1
case $1 in
store) cat > kept ;;
get) cat > asked; [ -e kept ] && cat kept || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f kept ;;
esac
`

func TestHelper(t *testing.T) {
	dir, bin, kept := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(bin, "docker-credential-test"), helper, 0o755)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HELPER_DIR", kept)
	write(t, filepath.Join(dir, "config.json"), `{"credsStore":"missing","credHelpers":{"quay.io":"test"}}`, 0o600)
	ctx := t.Context()
	if got, err := Get(ctx, client(dir), "quay.io"); err != nil || got != nil {
		t.Fatalf("before: %+v, %v", got, err)
	}
	if file, err := Store(ctx, client(dir), &Login{Username: "u", Password: "secret", ServerAddress: "quay.io"}); err != nil || file != "" {
		t.Fatalf("Store = %q, %v", file, err)
	}
	if got, err := Get(ctx, client(dir), "quay.io"); err != nil || got == nil || got.Username != "u" || got.Password != "secret" {
		t.Errorf("Get = %+v, %v", got, err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "config.json")); err != nil || strings.Contains(string(raw), "secret") {
		t.Errorf("the password is in the file: %v", err)
	}
	if found, err := Erase(ctx, client(dir), "quay.io"); err != nil || !found {
		t.Errorf("Erase = %v, %v", found, err)
	}
	if _, err := Store(ctx, client(dir), &Login{Username: "<token>", IdentityToken: "id", ServerAddress: "quay.io"}); err != nil {
		t.Fatal(err)
	}
	if got, err := Get(ctx, client(dir), "quay.io"); err != nil || got == nil || got.IdentityToken != "id" || got.Username != "" {
		t.Errorf("identity token: %+v, %v", got, err)
	}
	if _, err := Get(ctx, client(dir), "other.example"); err == nil || !strings.Contains(err.Error(), "docker-credential-missing") {
		t.Errorf("a helper that is not installed: %v", err)
	}
	write(t, filepath.Join(dir, "config.json"), `{"credsStore":"../evil"}`, 0o600)
	if _, err := Get(ctx, client(dir), "other.example"); err == nil || !strings.Contains(err.Error(), "not a path") {
		t.Errorf("a helper by path: %v", err)
	}
}
