package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

type sample struct {
	Image string
	Count int
	Host  struct {
		Memory int64
		Binds  []string
		On     bool
	}
}

func decodingServer(t *testing.T) *Server {
	s, _ := newTestServer(t)
	s.Handle("POST /optional", func(c *Call) error {
		v := sample{Image: "default"}
		if err := c.Decode(&v); err != nil {
			return err
		}
		return c.JSON(200, v.Image)
	})
	s.Handle("POST /required", func(c *Call) error {
		var v sample
		if err := c.DecodeRequired(&v); err != nil {
			return err
		}
		return c.JSON(200, v.Image)
	})
	return s
}

func TestBodies(t *testing.T) {
	const js = "application/json"
	garbage := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(garbage)
	cases := []struct {
		name, contentType, body string
		code                    int
		says                    string
	}{
		{"good", js, `{"Image":"web"}`, 200, `"web"`},
		{"charset", js + "; charset=utf-8", `{"Image":"web"}`, 200, `"web"`},
		{"space around", js, " \r\n{\"Image\":\"web\"}\n ", 200, `"web"`},
		{"unknown fields are newer clients'", js, `{"Image":"web","Later":1}`, 200, `"web"`},
		{"empty", js, "", 400, "invalid JSON: got EOF while reading request body"},
		{"only space", js, "  \n", 400, "invalid JSON: got EOF while reading request body"},
		{"word", js, "x", 400, "invalid JSON: invalid character 'x' looking for beginning of value"},
		{"half", js, `{"Image":`, 400, "invalid JSON: unexpected EOF"},
		{"trailing word", js, `{"Image":"web"} x`, 400, "unexpected content after JSON"},
		{"trailing object", js, `{"Image":"web"}{}`, 400, "unexpected content after JSON"},
		{"trailing brace", js, `{"Image":"web"}}`, 400, "unexpected content after JSON"},
		{"trailing bracket", js, `{"Image":"web"}]`, 400, "unexpected content after JSON"},
		{"wrong type", js, `{"Image":5}`, 400, "invalid JSON: field Image must be a string, not number"},
		{"wrong type inside", js, `{"Host":{"Binds":"x"}}`, 400, "invalid JSON: field Host.Binds must be an array, not string"},
		{"number too large", js, `{"Host":{"Memory":99999999999999999999}}`, 400, "invalid JSON: field Host.Memory must be a whole number in range, not number 99999999999999999999"},
		{"a list", js, `[1]`, 400, "invalid JSON: the body must be an object, not array"},
		{"no content type", "", `{}`, 400, "malformed Content-Type header (): mime: no media type"},
		{"form", "application/x-www-form-urlencoded", `{}`, 400, "unsupported Content-Type header (application/x-www-form-urlencoded): must be 'application/json'"},
		{"1 MB of garbage", js, string(garbage), 400, "invalid JSON: "},
		{"10^5 deep lists", js, strings.Repeat("[", 1e5), 400, "invalid JSON: "},
		{"10^5 deep objects", js, strings.Repeat(`{"a":`, 1e5), 400, "invalid JSON: "},
		{"10^5 deep, closed, in an unknown field", js, `{"x":` + strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5) + `}`, 400, "invalid JSON: "},
		{"over the limit", js, `{"Image":"` + strings.Repeat("a", maxJSON) + `"}`, 413, "at most 4194304 bytes"},
		{"at the limit", js, `{"Image":"` + strings.Repeat("a", maxJSON-12) + `"}`, 200, "aaa"},
	}
	s := decodingServer(t)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			w := do(s, "POST", "/required", tc.contentType, tc.body)
			if w.Code != tc.code || !strings.Contains(message(w), tc.says) {
				t.Errorf("%d %.200s, want %d with %q", w.Code, w.Body, tc.code, tc.says)
			}
		})
	}
	if w := do(s, "POST", "/optional", "", ""); w.Code != 200 || w.Body.String() != "\"default\"\n" {
		t.Errorf("an absent optional body: %d %s", w.Code, w.Body)
	}
}

func message(w *httptest.ResponseRecorder) string {
	var e errorBody
	if json.Unmarshal(w.Body.Bytes(), &e) == nil && e.Message != "" {
		return e.Message
	}
	return w.Body.String()
}

// A body without a length is bounded by what is read of it.
func TestChunkedBodyOverTheLimit(t *testing.T) {
	s := decodingServer(t)
	_, client := serveUnix(t, s)
	endless := io.MultiReader(strings.NewReader(`{"Image":"`), zeros{})
	req, err := http.NewRequest("POST", "http://d/required", endless)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return // the server cut the sender off before it read the answer
	}
	defer resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"Image":"a"}`, `{}`, `null`, `[]`, `{"Host":{"Memory":1}}x`, "\xff", `{"Image":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var v sample
		err := decodeJSON(raw, &v)
		if valid := json.Valid(raw); err == nil && !valid {
			t.Fatalf("accepted invalid JSON %q", raw)
		}
		if err != nil && fault.Of(err) != fault.Invalid {
			t.Fatalf("%q: error %v has class %v", raw, err, fault.Of(err))
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte("Go struct")) {
			t.Fatalf("the error speaks of Go: %v", err)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/v1.41/containers/x/json", "/v/x", "/v1.41", "//", "/v1.41//images/a/b/json", "/v1.41/v1.40/info", "/../etc"} {
		f.Add(seed)
	}
	s := New(Config{})
	for _, r := range catalog {
		s.Handle(r.pattern, func(c *Call) error {
			if c.Version < MinVersion || c.Version > MaxVersion {
				return fmt.Errorf("version %s reached a handler", c.Version)
			}
			return c.NoContent()
		})
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			r := httptest.NewRequest(method, "/", nil)
			r.URL.Path = path
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != 204 && w.Code != 404 && w.Code != 400 {
				t.Fatalf("%s %q: %d %s", method, path, w.Code, w.Body)
			}
		}
	})
}

func TestQueryHelpers(t *testing.T) {
	s, _ := newTestServer(t)
	var call *Call
	s.Handle("GET /q", func(c *Call) error { call = c; return c.NoContent() })
	do(s, "GET", "/q?a=1&b=0&c=No&d=&e=yes&n=12&bad=x&h=24&w=80&since=1136073845.000000001&rfc=2006-01-02T15:04:05Z&zero=0", "", "")
	for key, want := range map[string]bool{"a": true, "b": false, "c": false, "d": false, "e": true, "absent": false} {
		if call.Bool(key) != want {
			t.Errorf("Bool(%s) = %v", key, !want)
		}
	}
	if n, err := call.Int("n"); err != nil || *n != 12 {
		t.Errorf("Int(n): %v %v", n, err)
	}
	if n, err := call.Int("absent"); err != nil || n != nil {
		t.Errorf("Int(absent): %v %v", n, err)
	}
	if _, err := call.Int("bad"); fault.Of(err) != fault.Invalid {
		t.Errorf("Int(bad): %v", err)
	}
	if h, w, err := call.Size(); h != 24 || w != 80 || err != nil {
		t.Errorf("Size: %d %d %v", h, w, err)
	}
	if at, err := call.Time("since"); err != nil || !at.Equal(time.Unix(1136073845, 1)) {
		t.Errorf("Time(since): %v %v", at, err)
	}
	if at, err := call.Time("rfc"); err != nil || at.Year() != 2006 {
		t.Errorf("Time(rfc): %v %v", at, err)
	}
	for _, key := range []string{"zero", "absent"} {
		if at, err := call.Time(key); err != nil || !at.IsZero() {
			t.Errorf("Time(%s): %v %v", key, at, err)
		}
	}
	if _, err := call.Time("bad"); fault.Of(err) != fault.Invalid {
		t.Errorf("Time(bad): %v", err)
	}
	if w := do(s, "GET", "/q?a=%zz", "", ""); w.Code != 400 {
		t.Errorf("malformed query: %d", w.Code)
	}
	for _, size := range []string{"h=-1&w=1", "h=1", "h=70000&w=1", "h=x&w=1", ""} {
		do(s, "GET", "/q?"+size, "", "")
		if _, _, err := call.Size(); fault.Of(err) != fault.Invalid {
			t.Errorf("Size of %q: %v", size, err)
		}
	}
}

func TestUnixTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"0": time.Unix(0, 0), "1": time.Unix(1, 0), "1.5": time.Unix(1, 5e8), "1.000000001": time.Unix(1, 1),
		"1.0000000019": time.Unix(1, 1), "-5": time.Unix(-5, 0),
	} {
		if got, ok := unixTime(text); !ok || !got.Equal(want) {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "x", "1.x", "1.-5", "99999999999999999999", "9223372036854775807", "1e5"} {
		if got, ok := unixTime(text); ok {
			t.Errorf("%q became %v", text, got)
		}
	}
}
