package auth

import (
	"encoding/json"
	"strings"
)

// maxSaid bounds what is shown of a token server's own words.
const maxSaid = 256

// said is what a token server's refusal says for itself, ": toomanyrequests: out of
// tokens" for example, in the form that registries have; "" where it says nothing that
// is understood. The text is foreign: control characters go, so that it cannot move a
// terminal's cursor or begin a line of a log.
func said(raw []byte) string {
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(raw, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	first := answer.Errors[0]
	text := strings.TrimSuffix(strings.ToLower(first.Code)+": "+first.Message, ": ")
	text = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, text)
	if text = strings.Trim(text, ": "); text == "" {
		return ""
	}
	return ": " + strings.ToValidUTF8(text[:min(len(text), maxSaid)], "")
}
