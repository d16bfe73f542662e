package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

func TestParseChallenges(t *testing.T) {
	type want = []Challenge
	tests := map[string]struct {
		headers []string
		want    want
	}{
		"bearer":          {[]string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"`}, want{{"bearer", map[string]string{"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:a/b:pull,push"}}}},
		"basic":           {[]string{`Basic realm="Registry Realm"`}, want{{"basic", map[string]string{"realm": "Registry Realm"}}}},
		"two in one":      {[]string{`Basic realm="a", Bearer realm="https://x/t" , service=y`}, want{{"basic", map[string]string{"realm": "a"}}, {"bearer", map[string]string{"realm": "https://x/t", "service": "y"}}}},
		"two headers":     {[]string{`Negotiate`, `Basic realm=a`}, want{{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "a"}}}},
		"escapes":         {[]string{`Bearer realm="a\"b\\c"`}, want{{"bearer", map[string]string{"realm": `a"b\c`}}}},
		"unquoted URL":    {[]string{`Bearer realm=https://x:1/t?a=b,service=s`}, want{{"bearer", map[string]string{"realm": "https://x:1/t?a=b", "service": "s"}}}},
		"first one wins":  {[]string{`Bearer realm="a",realm="b"`}, want{{"bearer", map[string]string{"realm": "a"}}}},
		"unclosed string": {[]string{`Bearer realm="a`}, nil},
		"nothing":         {[]string{"", " ,, ", "\x00"}, nil},
		"too long":        {[]string{"Bearer realm=\"" + strings.Repeat("a", maxChallenge) + "\""}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ParseChallenges(test.headers); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzParseChallenges(f *testing.F) {
	for _, seed := range []string{`Bearer realm="https://a/t",service="s"`, `Basic realm=x, Bearer realm="y\"`, "Negotiate", `a=b`, "Digest realm=\"x\", qop=auth"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		for _, c := range ParseChallenges([]string{header}) {
			if c.Scheme == "" || c.Parameters == nil || len(c.Parameters) > maxParameters {
				t.Errorf("%q: %+v", header, c)
			}
		}
	})
}

func TestParseHeader(t *testing.T) {
	std := base64.StdEncoding.EncodeToString
	tests := map[string]struct {
		text string
		want Credentials
	}{
		"none":         {"", Credentials{}},
		"url alphabet": {base64.URLEncoding.EncodeToString([]byte(`{"username":"ü?>","password":"p"}`)), Credentials{Username: "ü?>", Password: "p"}},
		"no padding":   {strings.TrimRight(std([]byte(`{"username":"ab","password":"p"}`)), "="), Credentials{Username: "ab", Password: "p"}},
		"auth":         {std([]byte(`{"auth":"` + std([]byte("u:p:q")) + `"}`)), Credentials{Username: "u", Password: "p:q"}},
		"token":        {std([]byte(`{"identitytoken":"t","serveraddress":"s"}`)), Credentials{IdentityToken: "t", ServerAddress: "s"}},
		"not JSON":     {std([]byte(`nonsense`)), Credentials{}},
		"not base64":   {"***", Credentials{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseHeader(test.text); err != nil || got != test.want {
				t.Errorf("got %+v, %v", got.Username, err)
			}
		})
	}
	if _, err := ParseHeader(strings.Repeat("a", maxHeader+1)); !errors.Is(err, fault.Invalid) {
		t.Errorf("an endless header: %v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", Credentials{Password: "secret"}, Credentials{Password: "secret"}, Credentials{Password: "secret"}, Credentials{Password: "secret"}); strings.Contains(text, "secret") {
		t.Errorf("a password is printed: %s", text)
	}
}

func TestTrusted(t *testing.T) {
	for _, test := range []struct {
		host, server string
		configured   []string
		want         bool
	}{
		{"registry-1.docker.io", "auth.docker.io", nil, true},
		{"registry.gitlab.com", "gitlab.com", nil, true},
		{"quay.io", "quay.io", nil, true},
		{"registry.example.com:5000", "registry.example.com:5001", nil, true},
		{"registry.example.com", "evil.net", nil, false},
		{"a.github.io", "b.github.io", nil, false}, // a public suffix: two owners
		{"a.co.uk", "b.co.uk", nil, false},
		{"example.com", "example.com.evil.net", nil, false},
		{"127.0.0.1:5000", "127.0.0.2:5000", nil, false},
		{"localhost:5000", "example.com", nil, false},
		{"rg.fr-par.scw.cloud", "api.scaleway.com", []string{"api.scaleway.com"}, true},
	} {
		if got := Trusted(&Registry{Host: test.host, TokenServers: test.configured}, test.server); got != test.want {
			t.Errorf("%s may give its login to %s: %v", test.host, test.server, got)
		}
	}
}

// server is a token server as a Doer.
type server struct {
	seen   []*http.Request
	bodies []string
	status int
	answer string
}

func (s *server) do(r *http.Request) (*http.Response, error) {
	s.seen = append(s.seen, r)
	body := ""
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(raw)
	}
	s.bodies = append(s.bodies, body)
	return &http.Response{StatusCode: s.status, Body: io.NopCloser(strings.NewReader(s.answer))}, nil
}

func bearer(realm string) []string {
	return []string{`Bearer realm="` + realm + `",service="svc",scope="repository:of:the:registry"`}
}

func TestTokens(t *testing.T) {
	scopes := []Scope{{"team/web", "pull"}}
	login := Credentials{Username: "user", Password: "secret"}
	t.Run("fetched once", func(t *testing.T) {
		var tokens Tokens
		s := &server{status: 200, answer: `{"token":"abc","expires_in":300}`}
		r := &Registry{Host: "r.example.com", Credentials: login}
		if got := tokens.Known(r, scopes); got != "" {
			t.Errorf("known before the first challenge: %q", got)
		}
		got, err := tokens.Answer(t.Context(), s.do, r, bearer("https://auth.example.com/t?x=1"), scopes, "")
		if err != nil || got != "Bearer abc" {
			t.Fatalf("%q, %v", got, err)
		}
		q := s.seen[0].URL.Query()
		if user, password, _ := s.seen[0].BasicAuth(); user != "user" || password != "secret" || q.Get("service") != "svc" || q.Get("scope") != "repository:team/web:pull" || q.Get("account") != "user" || q.Get("x") != "1" {
			t.Errorf("request %s as %s", s.seen[0].URL, user)
		}
		if got := tokens.Known(r, scopes); got != "Bearer abc" {
			t.Errorf("Known = %q", got)
		}
		if got := tokens.Known(r, []Scope{{"team/web", "pull,push"}}); got != "" {
			t.Errorf("a token for less is used for more: %q", got)
		}
		if got := tokens.Known(&Registry{Host: "r.example.com"}, scopes); got != "" {
			t.Errorf("another user gets the token: %q", got)
		}
		// Refused though it should be good: a new one.
		if _, err := tokens.Answer(t.Context(), s.do, r, bearer("https://auth.example.com/t?x=1"), scopes, "Bearer abc"); err != nil || len(s.seen) != 2 {
			t.Errorf("%d requests, %v", len(s.seen), err)
		}
	})
	t.Run("identity token", func(t *testing.T) {
		s := &server{status: 200, answer: `{"access_token":"abc"}`}
		got, err := new(Tokens).Answer(t.Context(), s.do, &Registry{Host: "r.example.com", Credentials: Credentials{IdentityToken: "id"}}, bearer("https://r.example.com/t"), scopes, "")
		form, _ := url.ParseQuery(s.bodies[0])
		if err != nil || got != "Bearer abc" || s.seen[0].Method != http.MethodPost || form.Get("refresh_token") != "id" || form.Get("grant_type") != "refresh_token" {
			t.Errorf("%q, %v, %s", got, err, s.bodies[0])
		}
	})
	t.Run("offline", func(t *testing.T) {
		var tokens Tokens
		s := &server{status: 200, answer: `{"token":"abc","refresh_token":"id","expires_in":300}`}
		var id string
		r := &Registry{Host: "r.example.com", Credentials: login, Offline: &id}
		for range 2 { // not what is remembered
			id = ""
			if used := tokens.Known(r, nil); used != "" {
				t.Errorf("known: %q", used)
			}
			if _, err := tokens.Answer(t.Context(), s.do, r, bearer("https://auth.example.com/t"), nil, ""); err != nil || id != "id" {
				t.Errorf("identity token %q, %v", id, err)
			}
			q := s.seen[len(s.seen)-1].URL.Query()
			if q.Get("offline_token") != "true" || q.Get("client_id") == "" {
				t.Errorf("asked with %v", q)
			}
		}
		if _, err := tokens.Answer(t.Context(), s.do, r, bearer("https://evil.net/t"), nil, ""); err != nil || s.seen[2].URL.Query().Has("offline_token") {
			t.Errorf("a foreign server was asked for %s, %v", s.seen[2].URL, err)
		}
	})
	t.Run("foreign realm gets no login", func(t *testing.T) {
		s := &server{status: 200, answer: `{"token":"anonymous"}`}
		r := &Registry{Host: "r.example.com", Credentials: login}
		if _, err := new(Tokens).Answer(t.Context(), s.do, r, bearer("https://evil.net/t"), scopes, ""); err != nil {
			t.Fatal(err)
		}
		if s.seen[0].Header.Get("Authorization") != "" || strings.Contains(s.seen[0].URL.String(), "user") {
			t.Errorf("the login went to %s", s.seen[0].URL)
		}
		s.status = 401
		_, err := new(Tokens).Answer(t.Context(), s.do, r, bearer("https://evil.net/t"), scopes, "")
		if !errors.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "token-servers") {
			t.Errorf("%v", err)
		}
		r.TokenServers = []string{"evil.net"}
		s.status = 200
		if _, err := new(Tokens).Answer(t.Context(), s.do, r, bearer("https://evil.net/t"), scopes, ""); err != nil || s.seen[2].Header.Get("Authorization") == "" {
			t.Errorf("a configured token server gets no login (%v)", err)
		}
	})
	for name, test := range map[string]struct {
		realm, answer string
		status        int
		class         *fault.Class
	}{
		"plain realm of a TLS registry": {"http://r.example.com/t", "", 200, fault.Forbidden},
		"no URL":                        {"nonsense", "", 200, fault.Invalid},
		"a file":                        {"file:///etc/passwd", "", 200, fault.Invalid},
		"a user in it":                  {"https://a:b@r.example.com/t", "", 200, fault.Invalid},
		"wrong password":                {"https://r.example.com/t", "", 401, fault.Unauthorized},
		"down":                          {"https://r.example.com/t", "", 503, fault.Unavailable},
		"no token":                      {"https://r.example.com/t", `{}`, 200, fault.Invalid},
		"token with a line":             {"https://r.example.com/t", `{"token":"a\nX: y"}`, 200, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{status: test.status, answer: test.answer}
			_, err := new(Tokens).Answer(t.Context(), s.do, &Registry{Host: "r.example.com", Credentials: login}, bearer(test.realm), scopes, "")
			if !errors.Is(err, test.class) {
				t.Errorf("%v", err)
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
	t.Run("basic", func(t *testing.T) {
		var tokens Tokens
		r := &Registry{Host: "r.example.com", Credentials: login}
		h, err := tokens.Answer(context.Background(), nil, r, []string{`Basic realm="x"`}, scopes, "")
		if err != nil || h != "Basic "+base64.StdEncoding.EncodeToString([]byte("user:secret")) || tokens.Known(r, nil) != h {
			t.Errorf("%q, %v", h, err)
		}
		if _, err := tokens.Answer(context.Background(), nil, r, []string{`Basic realm="x"`}, scopes, h); !errors.Is(err, fault.Unauthorized) {
			t.Errorf("refused login: %v", err)
		}
		if _, err := tokens.Answer(context.Background(), nil, &Registry{}, []string{`Basic realm="x"`}, scopes, ""); err == nil || err.Error() != "no basic auth credentials" {
			t.Errorf("no login: %v", err)
		}
	})
	t.Run("expires", func(t *testing.T) {
		tok, err := parseToken([]byte(`{"token":"x","expires_in":1000000}`), "h")
		if err != nil || time.Until(tok.expire) > maxLife {
			t.Errorf("%v, %v", tok.expire, err)
		}
	})
}
