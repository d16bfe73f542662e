package server

import (
	"errors"
	"net/http"

	"github.com/sampan-containers/sampan/fault"
)

// statuses is the one place where a class of error becomes an HTTP status.
var statuses = map[*fault.Class]int{
	fault.NotFound:       http.StatusNotFound,
	fault.Conflict:       http.StatusConflict,
	fault.Invalid:        http.StatusBadRequest,
	fault.NotModified:    http.StatusNotModified,
	fault.Unavailable:    http.StatusServiceUnavailable,
	fault.Forbidden:      http.StatusForbidden,
	fault.Unauthorized:   http.StatusUnauthorized,
	fault.NotImplemented: http.StatusNotImplemented,
	fault.Exhausted:      http.StatusServiceUnavailable,
	// Docker answers 500 for a time-out; clients retry a 504 by themselves.
	fault.Deadline: http.StatusInternalServerError,
}

// errTooLarge is refused with its own status, which no domain error needs.
var errTooLarge = errors.New("request too large")

// FromRegistry is an error about a registry as clients are to get it. One that
// cannot be reached is 500, as in Docker: a 503 is this daemon's own state, and
// testcontainers, for one, asks again for a quarter of an hour.
func FromRegistry(err error) error {
	if fault.Of(err) != fault.Unavailable {
		return err
	}
	return errors.New(err.Error())
}

// StatusOf returns the HTTP status of an error; an error without a class is 500.
func StatusOf(err error) int {
	if errors.Is(err, errTooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	if status, ok := statuses[fault.Of(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}
