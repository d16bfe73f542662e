package auth

import (
	"strings"
	"testing"
)

func TestSaid(t *testing.T) {
	for raw, want := range map[string]string{
		`{"errors":[{"code":"TOOMANYREQUESTS","message":"out of tokens"}]}`: ": toomanyrequests: out of tokens",
		`{"errors":[{"code":"DENIED"}]}`:                                    ": denied",
		`{"errors":[{"message":"no\u001b[2Jway\nlevel=INFO"}]}`:             ": no[2Jwaylevel=INFO",
		`{"errors":[{}]}`:          "",
		`{"errors":[]}`:            "",
		`{"error":"unauthorized"}`: "",
		`no way`:                   "",
		`{"errors":[{"code":"X","message":"` + strings.Repeat("é", 1000) + `"}]}`: ": x: " + strings.Repeat("é", (maxSaid-3)/2),
	} {
		if got := said([]byte(raw)); got != want {
			t.Errorf("%.40s: %q, want %q", raw, got, want)
		}
	}
}
