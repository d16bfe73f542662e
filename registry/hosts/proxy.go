package hosts

import (
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"github.com/sampan-containers/sampan/fault"
)

// Proxy holds the daemon's proxies; empty fields come from the environment.
type Proxy struct{ HTTP, HTTPS, No string }

func (p Proxy) validate() error {
	for flag, text := range map[string]string{"http-proxy": p.HTTP, "https-proxy": p.HTTPS} {
		if text == "" {
			continue
		}
		if u, err := url.Parse(text); err != nil || u.Host == "" && u.Scheme != "" && u.Opaque == "" {
			return fault.New(fault.Invalid, "%s is not a URL", flag)
		}
	}
	return nil
}

// Settings are the proxies in effect.
func (p Proxy) Settings() Proxy {
	env := httpproxy.FromEnvironment()
	for _, f := range []struct {
		to   *string
		from string
	}{{&p.HTTP, env.HTTPProxy}, {&p.HTTPS, env.HTTPSProxy}, {&p.No, env.NoProxy}} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	return p
}

// Func chooses the proxy of a request. Loopback addresses have none.
func (p Proxy) Func() func(*http.Request) (*url.URL, error) {
	p = p.Settings()
	choose := (&httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.No}).ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
}
