package client

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/sampan-containers/sampan/cli/http1"
)

// StatusError is an error status of the daemon with its message. It matches
// the class of its status by errors.Is (errdefs.ErrNotFound and its like).
type StatusError struct {
	Status  int
	Message string
	Header  http1.Header // of the answer
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
	case http1.BadRequest:
		return errdefs.ErrInvalidArgument
	case http1.Unauthorized:
		return errdefs.ErrUnauthenticated
	case http1.Forbidden:
		return errdefs.ErrPermissionDenied
	case http1.NotFound:
		return errdefs.ErrNotFound
	case http1.Conflict:
		return errdefs.ErrConflict
	case http1.PreconditionFailed:
		return errdefs.ErrFailedPrecondition
	case http1.TooManyRequests:
		return errdefs.ErrResourceExhausted
	case http1.NotModified:
		return errdefs.ErrNotModified
	case http1.NotImplemented:
		return errdefs.ErrNotImplemented
	case http1.Unavailable:
		return errdefs.ErrUnavailable
	case http1.InternalError:
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
func statusError(req *http1.Request, resp *Response) error {
	if resp.Code >= 200 && resp.Code < 400 || resp.Code == http1.SwitchingProtocols {
		return nil
	}
	var text []byte
	if req.Method != http1.Head {
		var err error
		if text, err = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)); err != nil {
			return connectionError{fmt.Errorf("read the daemon's error: %w", err)}
		}
	}
	return NewStatusError(resp.Response, text)
}

// NewStatusError makes the error of an answer with this body.
func NewStatusError(resp *http1.Response, body []byte) *StatusError {
	e := &StatusError{Status: resp.Code, Message: errorText(body), Header: resp.Header, prefix: "Error response from daemon: "}
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
