package network

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/box/tool"
)

func wget(c *tool.Call) int {
	o, status, ok := c.Options("qSO:P:T:t:cH:D:N O=output-document q=quiet S=server-response T=timeout t=tries H=header D=post-data N=no-check-certificate P=directory-prefix")
	if !ok {
		return status
	}
	if len(o.Args) == 0 {
		return c.Misused("needs a URL")
	}
	seconds, err := strconv.ParseFloat(o.Value('T', "900"), 64)
	if err != nil {
		return c.Misused("%q is not a number of seconds", o.Value('T', ""))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: o.Has('N')}
	timeout := time.Duration(seconds * float64(time.Second))
	transport.DialContext = (&net.Dialer{Timeout: timeout}).DialContext
	transport.ResponseHeaderTimeout = timeout
	client := &http.Client{Transport: transport}
	for _, text := range o.Args {
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		if err := fetch(c, o, client, text); err != nil {
			c.Fail("%s", err)
		}
	}
	return c.Status()
}

func fetch(c *tool.Call, o *tool.Options, client *http.Client, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	method, body := http.MethodGet, io.Reader(nil)
	if o.Has('D') {
		method, body = http.MethodPost, strings.NewReader(o.Value('D', ""))
	}
	req, err := http.NewRequestWithContext(context.Background(), method, u.String(), body)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "Wget/sampan-box")
	if o.Has('D') {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range o.Values('H') {
		key, value, _ := strings.Cut(h, ":")
		req.Header.Set(strings.TrimSpace(key), strings.TrimSpace(value))
		if strings.EqualFold(strings.TrimSpace(key), "Host") {
			req.Host = strings.TrimSpace(value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if o.Has('S') {
		fmt.Fprintf(c.Err, "  %s %s\n", resp.Proto, resp.Status)
		for key, values := range resp.Header {
			fmt.Fprintf(c.Err, "  %s: %s\n", key, strings.Join(values, ", "))
		}
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("server returned error: %s %s", resp.Proto, resp.Status)
	}
	name := o.Value('O', "")
	if name == "" {
		if name = path.Base(u.Path); name == "." || name == "/" {
			name = "index.html"
		}
		name = path.Join(o.Value('P', ""), name)
	}
	if name == "-" {
		_, err := io.Copy(c.Out, resp.Body)
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, resp.Body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && !o.Has('q') {
		fmt.Fprintf(c.Err, "'%s' saved: %d bytes\n", name, n)
	}
	return err
}

func httpd(c *tool.Call) int {
	o, status, ok := c.Options("fvp:h:i p=port h=home")
	if !ok {
		return status
	}
	address := o.Value('p', "80")
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	dir := o.Value('h', ".")
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return c.Fail("%s: is not a directory", dir)
	}
	files := http.FileServer(http.Dir(dir))
	server := &http.Server{
		Addr:              address,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if o.Has('v') {
				fmt.Fprintf(c.Err, "%s %s %s\n", r.RemoteAddr, r.Method, r.URL.Path)
			}
			files.ServeHTTP(w, r)
		}),
	}
	return c.Fail("%s", server.ListenAndServe())
}
