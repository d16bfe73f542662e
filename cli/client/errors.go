package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
)

// StatusError is an error status of the daemon with its message. It matches
// the class of its status by errors.Is (errdefs.ErrNotFound and its like).
type StatusError struct {
	Status  int
	Message string
	Header  http.Header // of the answer
	prefix  string
}

func (e *StatusError) Error() string { return e.prefix + e.Message }

// Is compares with the classes of errdefs.
func (e *StatusError) Is(target error) bool {
	class := statusClass(e.Status)
	return class != nil && target == class
}

func statusClass(status int) error {
	switch status {
	case http.StatusBadRequest:
		return errdefs.ErrInvalidArgument
	case http.StatusUnauthorized:
		return errdefs.ErrUnauthenticated
	case http.StatusForbidden:
		return errdefs.ErrPermissionDenied
	case http.StatusNotFound:
		return errdefs.ErrNotFound
	case http.StatusConflict:
		return errdefs.ErrConflict
	case http.StatusPreconditionFailed:
		return errdefs.ErrFailedPrecondition
	case http.StatusTooManyRequests:
		return errdefs.ErrResourceExhausted
	case http.StatusNotModified:
		return errdefs.ErrNotModified
	case http.StatusNotImplemented:
		return errdefs.ErrNotImplemented
	case http.StatusServiceUnavailable:
		return errdefs.ErrUnavailable
	case http.StatusInternalServerError:
		return errdefs.ErrInternal
	}
	switch {
	case status >= 400 && status < 500:
		return errdefs.ErrInvalidArgument
	case status >= 500:
		return errdefs.ErrInternal
	}
	return nil
}

// statusError is nil for an answer that is no error.
func statusError(req *http.Request, resp *http.Response) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 400 || resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	var text []byte
	if req.Method != http.MethodHead {
		var err error
		if text, err = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)); err != nil && !errors.Is(err, io.EOF) {
			return connectionError{fmt.Errorf("read the daemon's error: %w", err)}
		}
	}
	return NewStatusError(resp, text)
}

// NewStatusError makes the error of an answer with this body.
func NewStatusError(resp *http.Response, body []byte) *StatusError {
	e := &StatusError{Status: resp.StatusCode, Message: errorText(body), Header: resp.Header, prefix: "Error response from daemon: "}
	if e.Message == "" {
		e.prefix = ""
		e.Message = fmt.Sprintf("the daemon answered %s and gave no reason", resp.Status)
	}
	return e
}

func errorText(text []byte) string {
	var parsed struct{ Message string }
	if json.Unmarshal(text, &parsed) == nil && parsed.Message != "" {
		return strings.TrimSpace(parsed.Message)
	}
	return strings.TrimSpace(string(text))
}
