package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

const maxErrorBody = 64 * kib

// answered is the error that a registry answered with.
type answered struct {
	host   string
	status int
	code   string // of the first error: MANIFEST_UNKNOWN
	text   string
}

func (a *answered) Error() string {
	if a.text != "" {
		return a.text
	}
	return fmt.Sprintf("received unexpected HTTP status: %d %s from %s", a.status, http.StatusText(a.status), a.host)
}

// answerError reads the errors of an answer and closes it. The text is what
// Docker shows: "denied: requested access to the resource is denied".
func answerError(resp *http.Response) error {
	defer resp.Body.Close()
	a := &answered{host: resp.Request.URL.Host, status: resp.StatusCode}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if err == nil && json.Unmarshal(raw, &body) == nil && len(body.Errors) > 0 {
		a.code = body.Errors[0].Code
		code := strings.ToLower(strings.ReplaceAll(a.code, "_", " "))
		a.text = clip(strings.TrimSuffix(code+": "+body.Errors[0].Message, ": "))
	}
	return fault.Wrap(classOf(resp.StatusCode), a)
}

func classOf(status int) *fault.Class {
	switch {
	case status == http.StatusUnauthorized:
		return fault.Unauthorized
	case status == http.StatusForbidden:
		return fault.Forbidden
	case status == http.StatusNotFound:
		return fault.NotFound
	case status >= 500 || transient(status):
		return fault.Unavailable
	}
	return fault.Invalid
}

// as finds what a registry answered in an error.
func as(err error) *answered {
	var a *answered
	if errors.As(err, &a) {
		return a
	}
	return nil
}

// Code is the registry's own code of an error, such as MANIFEST_UNKNOWN.
func Code(err error) string {
	if a := as(err); a != nil {
		return a.code
	}
	return ""
}

// Status is the HTTP status that a registry answered an error with, or 0.
func Status(err error) int {
	if a := as(err); a != nil {
		return a.status
	}
	return 0
}
