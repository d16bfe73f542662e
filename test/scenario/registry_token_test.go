package scenario

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/hostile"
	"github.com/sampan-containers/sampan/test/lab"
)

// A registry that gives identity tokens gets the password once, at the login: the
// token is kept in its place, in the file or in a credential helper that both clients
// share, and goes for later pulls.
func TestLoginKeepsAnIdentityToken(t *testing.T) {
	r := hostile.New(t, "")
	r.Add(t, "1", []hostile.Layer{hostile.Gzip(t, hostile.Tar(t, map[string][]byte{"f": []byte("x")}, "f"))}, nil)
	r.Play(func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path == "/token" {
			user, secret, _ := q.BasicAuth()
			switch {
			case q.Method == http.MethodPost && q.FormValue("grant_type") == "refresh_token" && q.FormValue("refresh_token") == "identity-token":
				fmt.Fprint(w, `{"access_token":"good"}`)
			case q.Method == http.MethodGet && user == "shipper" && secret == "secret-password" && q.FormValue("offline_token") == "true":
				fmt.Fprint(w, `{"token":"good","refresh_token":"identity-token"}`)
			default:
				w.WriteHeader(http.StatusUnauthorized)
			}
			return true
		}
		if q.Header.Get("Authorization") == "Bearer good" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.URL()+`/token",service="lab"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	d := start(t)
	bin := t.TempDir()
	store := filepath.Join(bin, "store")
	helper := "#!/bin/sh\ncase $1 in store) cat >" + store + " ;; get) if [ -e " + store + " ]; then cat " + store + "; else echo credentials not found in native keychain; exit 1; fi ;; erase) rm -f " + store + " ;; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-lab"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, in := range []string{"file", "helper"} {
		for _, who := range []string{"sampan", "docker"} {
			t.Run(in+"/"+who, func(t *testing.T) {
				dir := t.TempDir()
				t.Setenv("DOCKER_CONFIG", dir)
				if in == "helper" {
					if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"lab"}`), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				login := []string{lab.Bin(t, "sampan")}
				if who == "docker" {
					login = []string{"/usr/bin/docker", "-H", "unix:///run/sampan/sampan.sock"}
				}
				lab.Run(t, []byte("secret-password"), append(login, "login", "-u", "shipper", "--password-stdin", r.Host())...).Must(t)
				kept, err := os.ReadFile(filepath.Join(dir, "config.json"))
				if err != nil {
					t.Fatal(err)
				}
				if in == "helper" {
					if kept, err = os.ReadFile(store); err != nil {
						t.Fatal(err)
					}
				}
				if text := string(kept); !strings.Contains(text, "identity-token") || strings.Contains(text, "secret-password") || !json.Valid(kept) {
					t.Errorf("kept: %s", text)
				}
				for _, pull := range []func(...string) lab.Result{d.Sampan, d.Docker} {
					d.Restart() // it forgets its tokens
					pull("pull", "-q", r.Host()+"/web:1").Must(t)
					d.Sampan("rmi", r.Host()+"/web:1").Must(t)
				}
				if n := len(r.Seen("/token")); n == 0 {
					t.Error("nobody asked for a token")
				}
				d.Sampan("logout", r.Host()).Must(t)
				if res := d.Docker("pull", "-q", r.Host()+"/web:1"); res.Code == 0 {
					t.Error("it was pulled after the logout")
				}
			})
		}
	}
	if log := d.Log(); strings.Contains(log, "secret-password") || strings.Contains(log, "identity-token") {
		t.Errorf("a secret is in the daemon's log:\n%s", log)
	}
}
