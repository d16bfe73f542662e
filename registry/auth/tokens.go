package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// defaultLife is what the token specification says for a server that does
	// not say; early is how long before its end a token is not used any more.
	defaultLife = 60 * time.Second
	early       = 5 * time.Second
	maxLife     = time.Hour
	maxTokens   = 512
	maxAnswer   = 1 << 20
	maxRefresh  = 16 << 10
	clientID    = "sampan"
)

// Doer sends one request, without following redirects and without a login.
type Doer func(*http.Request) (*http.Response, error)

// Tokens keeps tokens and challenges. It is safe for concurrent use.
type Tokens struct {
	mu         sync.Mutex
	tokens     map[string]token
	challenges map[string]Challenge // by host: what it asked for last
}

type token struct {
	value   string
	refresh string // an identity token
	expire  time.Time
}

// Scope is what a token must allow.
type Scope struct {
	Repository string
	Actions    string // "pull" or "pull,push"
}

func (s Scope) String() string { return "repository:" + s.Repository + ":" + s.Actions }

// Registry is whom a request goes to and who asks.
type Registry struct {
	Host         string // host[:port]
	Plain        bool   // reached by plain HTTP
	Insecure     bool   // by configuration
	Credentials  Credentials
	TokenServers []string
	// Offline asks a token server that may have the login for an identity token,
	// which takes the password's place from then on, and is set to it.
	Offline *string
}

// Known returns the Authorization header that the host wanted last time, or ""
// when nothing is known yet or the token must be fetched anew. It sends nothing.
func (t *Tokens) Known(r *Registry, scopes []Scope) string {
	if r.Credentials.RegistryToken != "" {
		return "Bearer " + r.Credentials.RegistryToken
	}
	if r.Offline != nil {
		return "" // a token that is known came without an identity token
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.challenges[r.Host]
	if !ok {
		return ""
	}
	if c.Scheme == "basic" {
		return basic(r.Credentials)
	}
	if tok, ok := t.tokens[key(r, c, scopes)]; ok && time.Now().Before(tok.expire) {
		return "Bearer " + tok.value
	}
	return ""
}

// Answer turns the challenges of an answer 401 into an Authorization header.
// used is the header that was refused, if there was one.
func (t *Tokens) Answer(ctx context.Context, do Doer, r *Registry, headers []string, scopes []Scope, used string) (string, error) {
	list := ParseChallenges(headers)
	slices.SortStableFunc(list, func(a, b Challenge) int { return rank(b.Scheme) - rank(a.Scheme) })
	for _, c := range list {
		switch c.Scheme {
		case "bearer":
			return t.bearer(ctx, do, r, c, scopes, used)
		case "basic":
			h := basic(r.Credentials)
			if h == "" {
				return "", fault.New(fault.Unauthorized, "no basic auth credentials")
			}
			if h == used {
				return "", fault.New(fault.Unauthorized, "incorrect username or password")
			}
			t.remember(r.Host, c)
			return h, nil
		}
	}
	return "", fault.New(fault.Unauthorized, "registry %s refuses access and offers no way to authenticate that Sampan knows (basic, bearer)", r.Host)
}

func rank(scheme string) int {
	switch scheme {
	case "bearer":
		return 2
	case "basic":
		return 1
	}
	return 0
}

func (t *Tokens) remember(host string, c Challenge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.challenges == nil || len(t.challenges) >= maxTokens {
		t.challenges = map[string]Challenge{}
	}
	t.challenges[host] = c
}

func (t *Tokens) bearer(ctx context.Context, do Doer, r *Registry, c Challenge, scopes []Scope, used string) (string, error) {
	if r.Credentials.RegistryToken != "" {
		return "", fault.New(fault.Unauthorized, "registry %s refuses the token it was given", r.Host)
	}
	delete(c.Parameters, "error")
	t.remember(r.Host, Challenge{Scheme: c.Scheme, Parameters: map[string]string{"realm": c.Parameters["realm"], "service": c.Parameters["service"]}})
	k := key(r, c, scopes)
	t.mu.Lock()
	tok, ok := t.tokens[k]
	t.mu.Unlock()
	if ok && r.Offline == nil && time.Now().Before(tok.expire) && "Bearer "+tok.value != used {
		return "Bearer " + tok.value, nil
	}
	tok, err := fetch(ctx, do, r, c, scopes)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens == nil || len(t.tokens) >= maxTokens {
		t.tokens = map[string]token{}
	}
	t.tokens[k] = tok
	return "Bearer " + tok.value, nil
}

// key names a token without holding the login.
func key(r *Registry, c Challenge, scopes []Scope) string {
	h := sha256.New()
	for _, part := range []string{r.Host, c.Parameters["realm"], c.Parameters["service"], r.Credentials.Username, r.Credentials.Password, r.Credentials.IdentityToken} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	for _, s := range scopes {
		fmt.Fprintf(h, " %s", s)
	}
	return string(h.Sum(nil))
}

func basic(c Credentials) string {
	if c.Username == "" && c.Password == "" {
		return ""
	}
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(c.Username, c.Password)
	return req.Header.Get("Authorization")
}

// fetch asks the token server. It is given the login only if it may have it.
func fetch(ctx context.Context, do Doer, r *Registry, c Challenge, scopes []Scope) (token, error) {
	realm, err := url.Parse(c.Parameters["realm"])
	if err != nil || realm.Host == "" || realm.User != nil || realm.Scheme != "https" && realm.Scheme != "http" {
		return token{}, fault.New(fault.Invalid, "registry %s names a token server that is no URL: %q", r.Host, c.Parameters["realm"])
	}
	if realm.Scheme == "http" && !r.Plain && !r.Insecure {
		return token{}, fault.New(fault.Forbidden, "registry %s is reached by TLS and sends clients to a token server without it (%s): refused", r.Host, realm.Host)
	}
	login := r.Credentials
	trusted := Trusted(r, realm.Host)
	if !trusted {
		login = Credentials{}
	}
	var names []string
	for _, s := range scopes {
		names = append(names, s.String())
	}
	tok, err := request(ctx, do, realm, c.Parameters["service"], names, login, r.Offline != nil && !login.Empty())
	if err != nil && !trusted && !r.Credentials.Empty() {
		return token{}, fault.New(fault.Forbidden, "registry %s wants the login to be sent to %s, a host of another domain; to allow it, add the host to token-servers of %q in the table registries of daemon.json (%w)", r.Host, realm.Host, r.Host, err)
	}
	if err == nil && r.Offline != nil && !login.Empty() {
		*r.Offline = tok.refresh
	}
	tok.refresh = "" // is not kept here
	return tok, err
}

// Trusted tells whether a token server may be given the registry's login: the
// host itself, one below the same registered domain, or one that is configured.
func Trusted(r *Registry, server string) bool {
	if server == r.Host || slices.Contains(r.TokenServers, server) {
		return true
	}
	a, b := bareHost(r.Host), bareHost(server)
	if slices.Contains(r.TokenServers, b) || a == b {
		return true
	}
	da, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	db, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && da == db && strings.Contains(da, ".") && !isAddress(a) && !isAddress(b)
}

func bareHost(host string) string { return (&url.URL{Host: host}).Hostname() }

func isAddress(host string) bool {
	return strings.Contains(host, ":") || strings.Trim(host, "0123456789.") == ""
}

func request(ctx context.Context, do Doer, realm *url.URL, service string, scopes []string, login Credentials, offline bool) (token, error) {
	req, err := tokenRequest(ctx, realm, service, scopes, login, offline)
	if err != nil {
		return token{}, err
	}
	resp, err := do(req)
	if err != nil {
		return token{}, fmt.Errorf("ask the token server %s: %w", realm.Host, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return token{}, fmt.Errorf("ask the token server %s: %w", realm.Host, err)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusBadRequest:
		if login.Empty() {
			return token{}, fault.New(fault.Unauthorized, "access denied by the token server %s%s", realm.Host, said(raw))
		}
		return token{}, fault.New(fault.Unauthorized, "incorrect username or password%s", said(raw))
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError:
		return token{}, fault.New(fault.Unavailable, "token server %s answers %d%s", realm.Host, resp.StatusCode, said(raw))
	default:
		return token{}, fault.New(fault.Unauthorized, "token server %s answers %d%s", realm.Host, resp.StatusCode, said(raw))
	}
	return parseToken(raw, realm.Host)
}

// tokenRequest is a GET, or a POST when the login is an identity token, which
// is exchanged by OAuth 2.
func tokenRequest(ctx context.Context, realm *url.URL, service string, scopes []string, login Credentials, offline bool) (*http.Request, error) {
	u := *realm
	if login.IdentityToken != "" {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {login.IdentityToken}, "service": {service}, "client_id": {clientID}, "scope": {strings.Join(scopes, " ")}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	q := u.Query()
	if service != "" {
		q.Set("service", service)
	}
	for _, s := range scopes {
		q.Add("scope", s)
	}
	if login.Username != "" {
		q.Set("account", login.Username)
	}
	if offline {
		q.Set("offline_token", "true")
		q.Set("client_id", clientID)
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err == nil && login.Username != "" {
		req.SetBasicAuth(login.Username, login.Password)
	}
	return req, err
}

func parseToken(raw []byte, host string) (token, error) {
	var answer struct {
		Token        string `json:"token"`
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return token{}, fault.New(fault.Invalid, "token server %s does not answer with a token: %w", host, err)
	}
	value := answer.Token
	if value == "" {
		value = answer.AccessToken
	}
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if value == "" || strings.ContainsFunc(value, odd) {
		return token{}, fault.New(fault.Invalid, "token server %s does not answer with a token", host)
	}
	life := min(time.Duration(answer.ExpiresIn)*time.Second, maxLife)
	if answer.ExpiresIn < int64(defaultLife/time.Second) {
		life = defaultLife
	}
	tok := token{value: value, expire: time.Now().Add(life - early)}
	if len(answer.RefreshToken) <= maxRefresh && !strings.ContainsFunc(answer.RefreshToken, odd) {
		tok.refresh = answer.RefreshToken
	}
	return tok, nil
}
